#include "selftest.hpp"

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <vector>

#include "base/json.hpp"
#include "wick/wick.hpp"

namespace wick::cli {

namespace {

std::vector<std::filesystem::path> folders_of(const std::filesystem::path& parent) {
  std::vector<std::filesystem::path> folders;
  if (!std::filesystem::is_directory(parent)) return folders;
  for (const auto& entry : std::filesystem::directory_iterator(parent)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

// What cannot be compared at all does not hold, and the others are compared all the same.
void guarded(const std::string& subject, const ComparisonSink& sink,
             const std::function<void()>& compare) {
  try {
    compare();
  } catch (const std::exception& error) {
    sink({subject, error.what(), std::numeric_limits<double>::infinity(), 0});
  }
}

}  // namespace

void compare_tokenizer(const std::filesystem::path& folder, const ComparisonSink& sink) {
  const Tokenizer tokenizer = Tokenizer::from_file(folder);
  const std::filesystem::path path = folder / "expected.jsonl";
  LineReader lines(path);
  int encoded = 0;
  int decoded = 0;
  int count = 0;
  while (const auto line = lines.next()) {
    const detail::Json json = detail::parse_json(line->text, path.string());
    const detail::JsonFields fields(json, path.string() + ":" + std::to_string(line->number));
    const std::string text = fields.string("text");
    const auto ids = fields.require("ids").get<std::vector<std::int32_t>>();
    const auto plain = fields.require("ids_no_special").get<std::vector<std::int32_t>>();
    encoded += tokenizer.encode(text) != ids;
    encoded += tokenizer.encode(text, {.add_special_tokens = false}) != plain;
    decoded += tokenizer.decode(plain, false) != fields.string("decoded");
    decoded += tokenizer.decode(plain, true) != fields.string("decoded_skip_special");
    ++count;
  }
  const std::string subject = "tokenizers/" + folder.filename().string();
  sink({subject, "texts encoded differently", static_cast<double>(encoded), 0});
  sink({subject, "texts decoded differently", static_cast<double>(decoded), 0});
  sink({subject, "files without a text", count == 0 ? 1.0 : 0.0, 0});
}

void run_selftest(const std::filesystem::path& fixtures, const SelftestOptions& options,
                  const ComparisonSink& sink) {
  const auto models = folders_of(fixtures / "models");
  const auto tokenizers = folders_of(fixtures / "tokenizers");
  if (models.empty() && tokenizers.empty()) {
    throw Error(ErrorKind::kIo, "selftest",
                fixtures.string() + " has no folders in models/ or tokenizers/");
  }
  for (const auto& folder : models) {
    guarded(folder.filename().string(), sink, [&] { compare_model(folder, options, sink); });
  }
  for (const auto& folder : tokenizers) {
    guarded("tokenizers/" + folder.filename().string(), sink,
            [&] { compare_tokenizer(folder, sink); });
  }
}

}  // namespace wick::cli

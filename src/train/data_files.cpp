#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <string_view>
#include <system_error>

#include "wick/base/error.hpp"
#include "wick/train/dataset.hpp"

namespace wick {

namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kEndings = {".jsonl", ".txt"};

// The one file of a folder that has one of these names; empty when there is none.
fs::path find_one(const fs::path& folder, std::initializer_list<std::string_view> names) {
  fs::path found;
  for (const std::string_view name : names) {
    for (const std::string_view ending : kEndings) {
      const fs::path candidate = folder / fmt::format("{}{}", name, ending);
      std::error_code ignored;
      if (!fs::is_regular_file(candidate, ignored)) continue;
      if (!found.empty()) {
        throw Error(ErrorKind::kArgument, folder.string(),
                    fmt::format("has both {} and {}", found.filename().string(),
                                candidate.filename().string()),
                    {}, "remove the one that is not meant, or name a file instead of the folder");
      }
      found = candidate;
    }
  }
  return found;
}

}  // namespace

DataFiles find_data_files(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (!fs::exists(status)) {
    throw Error(ErrorKind::kIo, path.string(), "there is no such file or folder");
  }
  if (!fs::is_directory(status)) return {.train = path, .valid = {}, .test = {}};
  DataFiles files{.train = find_one(path, {"train"}),
                  .valid = find_one(path, {"valid", "validation", "val"}),
                  .test = find_one(path, {"test"})};
  if (files.train.empty()) {
    throw Error(ErrorKind::kIo, path.string(), "the folder has neither train.jsonl nor train.txt");
  }
  return files;
}

}  // namespace wick

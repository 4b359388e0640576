#include "train/checkpoints.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "base/atomic_file.hpp"
#include "base/temporary_name.hpp"
#include "train/digest.hpp"
#include "train/run_settings.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kStateFile = "trainer_state.json";
constexpr std::int64_t kFormatVersion = 1;

std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  // "checkpoint-007" is none of ours.
  if (step < 1 || checkpoint_path({}, step) != name) return std::nullopt;
  return step;
}

[[noreturn]] void refuse(const fs::path& path, std::string rule) {
  throw Error(ErrorKind::kParse, path.string(), std::move(rule), {},
              "resume from another checkpoint");
}

Json digests_of(const fs::path& folder) {
  Json files = Json::object();
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = file_digest(entry.path());
  }
  return files;
}

std::string state_digest(const Json& json) {
  const std::string text = json.dump();
  return fmt::format("{:016x}", digest(std::as_bytes(std::span(text))));
}

// trainer_state.json, verified.
Json read_state_file(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kStateFile;
  Json json = read_json_file(path);
  const JsonFields fields(json, path.string());
  if (fields.integer("format_version") != kFormatVersion) {
    fields.fail("format_version", fmt::format("must be {}", kFormatVersion));
  }
  const std::string digest = fields.string("digest");
  json.erase("digest");
  if (digest != state_digest(json)) {
    refuse(path, "is damaged: its content is not what was written");
  }
  return json;
}

std::optional<Json> state_if_whole(const fs::path& checkpoint) {
  try {
    return read_state_file(checkpoint);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void verify_files(const fs::path& checkpoint, const Json& digests) {
  for (const auto& [name, digest] : digests.items()) {
    const fs::path path = checkpoint / name;
    const auto written = digest.get<std::string>();
    const std::string found = file_digest(path);
    if (found == written) continue;
    const std::string size = found.substr(0, found.find(':'));
    const std::string expected = written.substr(0, written.find(':'));
    refuse(path, size == expected
                     ? "is damaged: its bytes are not those that were written"
                     : fmt::format("has {} bytes, but {} were written", size, expected));
  }
}

// Under another name first: whoever dies half-way leaves something that nobody resumes from.
void remove_checkpoint(const fs::path& path) {
  const TemporaryName doomed(path);
  std::error_code problem;
  fs::rename(path, doomed.path(), problem);
  if (!problem) fs::remove_all(doomed.path(), problem);
  if (problem) {
    throw Error(ErrorKind::kIo, path.string(), "cannot be removed: " + problem.message());
  }
}

}  // namespace

fs::path checkpoint_path(const fs::path& output_dir, std::int64_t step) {
  return output_dir / fmt::format("{}{}", kPrefix, step);
}

std::vector<CheckpointFolder> list_checkpoints(const fs::path& output_dir) {
  std::vector<CheckpointFolder> found;
  std::error_code problem;
  fs::directory_iterator entry(output_dir, problem);
  if (problem == std::errc::no_such_file_or_directory) return found;
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const auto step = step_of(entry->path());
    std::error_code ignored;
    if (step && fs::is_regular_file(entry->path() / kStateFile, ignored)) {
      found.push_back({entry->path(), *step});
    }
  }
  if (problem) {
    throw Error(ErrorKind::kIo, output_dir.string(), "cannot be read: " + problem.message());
  }
  std::ranges::sort(found, {}, &CheckpointFolder::step);
  return found;
}

void write_checkpoint(const fs::path& path, const TrainerState& state, const Json& settings,
                      const std::function<void(const fs::path&)>& write_tensors) {
  AtomicFolder folder(path);
  write_tensors(folder.staging());
  Json json = to_json(state);
  json["format_version"] = kFormatVersion;
  json["settings"] = settings;
  json["files"] = digests_of(folder.staging());
  json["digest"] = state_digest(json);
  write_file_atomically(folder.staging() / kStateFile, to_text(json));
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(path, ignored))) remove_checkpoint(path);
  folder.commit();
}

void replace_state(const fs::path& path, const TrainerState& state) {
  Json json = read_state_file(path);
  json.update(to_json(state));
  json["digest"] = state_digest(json);
  write_file_atomically(path / kStateFile, to_text(json));
}

TrainerState read_checkpoint(const fs::path& path, const Json& settings) {
  const Json json = read_state_file(path);
  const JsonFields fields(json, (path / kStateFile).string());
  const std::string changed = changed_settings(fields.require("settings"), settings);
  if (!changed.empty()) {
    throw Error(ErrorKind::kArgument, "resume",
                path.string() + ": the run had other settings: " + changed, {},
                "resume with the settings of the checkpoint, or start a new run");
  }
  verify_files(path, fields.require("files"));
  return parse_trainer_state(fields);
}

bool is_of_run(const fs::path& path, const Json& settings) {
  const std::optional<Json> json = state_if_whole(path);
  return !json || changed_settings(json->at("settings"), settings).empty();
}

void remove_old_checkpoints(const fs::path& output_dir, std::int64_t step, std::int64_t limit) {
  std::vector<CheckpointFolder> checkpoints = list_checkpoints(output_dir);
  std::erase_if(checkpoints, [&](const CheckpointFolder& one) { return one.step > step; });
  const auto count = static_cast<std::int64_t>(checkpoints.size());
  const auto old = checkpoints.begin() + std::max<std::int64_t>(count - limit, 0);
  std::set<std::int64_t> best;
  for (auto kept = old; kept != checkpoints.end(); ++kept) {
    const std::optional<Json> json = state_if_whole(kept->path);
    if (json) best.insert(json->at("best_global_step").get<std::int64_t>());
  }
  for (auto one = checkpoints.begin(); one != old; ++one) {
    if (!best.contains(one->step)) remove_checkpoint(one->path);
  }
}

}  // namespace wick::detail

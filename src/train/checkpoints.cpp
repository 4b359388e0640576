#include "train/checkpoints.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "base/temporary_name.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::string_view kPrefix = "checkpoint-";

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* begin = name.data() + kPrefix.size();
  const char* end = name.data() + name.size();
  std::int64_t step = 0;
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end) return std::nullopt;
  return step;
}

}  // namespace

std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir) {
  std::vector<CheckpointFolder> found;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir, problem)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory()) found.push_back({entry.path(), *step});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& left, const auto& right) { return left.step < right.step; });
  return found;
}

std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, std::int64_t step) {
  return output_dir / (std::string(kPrefix) + std::to_string(step));
}

void remove_old_checkpoints(const std::filesystem::path& output_dir, std::int64_t limit,
                            std::int64_t keep) {
  const std::vector<CheckpointFolder> checkpoints = list_checkpoints(output_dir);
  const auto excess = static_cast<std::int64_t>(checkpoints.size()) - limit;
  std::int64_t removed = 0;
  for (const CheckpointFolder& checkpoint : checkpoints) {
    if (removed >= excess) break;
    ++removed;
    if (checkpoint.step == keep) continue;
    // Under another name first: whoever dies half-way leaves something that nobody resumes from.
    const TemporaryName name(checkpoint.path);
    const std::filesystem::path& doomed = name.path();
    std::error_code problem;
    std::filesystem::rename(checkpoint.path, doomed, problem);
    if (!problem) std::filesystem::remove_all(doomed, problem);
    if (problem) {
      throw Error(ErrorKind::kIo, "save_checkpoint",
                  checkpoint.path.string() + " cannot be removed: " + problem.message());
    }
  }
}

}  // namespace wick::detail

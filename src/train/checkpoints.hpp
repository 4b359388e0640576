#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace wick::detail {

/// A whole checkpoint of a run.
struct CheckpointFolder {
  std::filesystem::path path;
  std::int64_t step = 0;
};

/// The checkpoints of a run's folder, oldest first; half-written ones have other names and are not among them.
std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir);

/// `<output_dir>/checkpoint-<step>`.
std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, std::int64_t step);

/// Removes the oldest checkpoints beyond `limit`, but never the one of step `keep`. A process that dies meanwhile leaves
/// no folder that looks like a checkpoint and is not whole. Throws Error kIo.
void remove_old_checkpoints(const std::filesystem::path& output_dir, std::int64_t limit,
                            std::int64_t keep);

}  // namespace wick::detail

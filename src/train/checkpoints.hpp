#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/json.hpp"
#include "train/trainer_state.hpp"

namespace wick::detail {

/// A whole checkpoint of a run.
struct CheckpointFolder {
  std::filesystem::path path;
  std::int64_t step = 0;
};

/// `<output_dir>/checkpoint-<step>`.
std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, std::int64_t step);

/// The checkpoints of a run's folder, oldest first. One appears there whole, under this name, with its last file; folders
/// that lack it are not among them. Throws Error kIo when there is a folder that cannot be read.
std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& output_dir);

/// Writes a checkpoint so that the folder appears at once, or not at all: `write_tensors` fills it, and
/// trainer_state.json records the state, the settings, and the digest of every file. An older folder of that name is
/// replaced. Throws Error kIo.
void write_checkpoint(const std::filesystem::path& path, const TrainerState& state,
                      const Json& settings,
                      const std::function<void(const std::filesystem::path&)>& write_tensors);

/// Replaces the state in a checkpoint; its other files stay. Throws Error kIo, kParse.
void replace_state(const std::filesystem::path& path, const TrainerState& state);

/// Reads the state of a checkpoint after it has verified every file. Throws Error kIo, kParse for a file that is missing
/// or damaged, kArgument naming each setting that differs from those of the run that wants to go on.
TrainerState read_checkpoint(const std::filesystem::path& path, const Json& settings);

/// False when a checkpoint was made with other settings; damaged ones are let off.
bool is_of_run(const std::filesystem::path& path, const Json& settings);

/// Of the checkpoints up to `step` keeps the `limit` newest, and the best that each of them names: whichever is
/// resumed finds it. A process that dies meanwhile leaves no folder that looks like a checkpoint and is not whole.
/// Throws Error kIo.
void remove_old_checkpoints(const std::filesystem::path& output_dir, std::int64_t step,
                            std::int64_t limit);

}  // namespace wick::detail

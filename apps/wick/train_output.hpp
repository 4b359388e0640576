#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train_flags.hpp"

namespace wick::cli {

/// Makes the folder of a run and refuses one that cannot be written, holds checkpoints or the result of another run (unless
/// it is resumed or to be overwritten) or is the model's own. Nothing in it is changed. Throws Error kIo, kArgument.
void check_output_folder(const TrainFlags& flags);

/// Removes what a run writes, and only that. Throws Error kIo.
void clear_output_folder(const std::filesystem::path& folder);

/// Puts the tokenizer's files and generation_config.json beside a fully trained model, so that the folder is a whole model.
/// Throws Error kIo.
void copy_model_companions(const TrainFlags& flags);

/// Commands to try with the result of a run.
std::vector<std::string> next_commands(const TrainFlags& flags);

/// The command that goes on with a run that was interrupted.
std::string resume_command(const TrainFlags& flags);

}  // namespace wick::cli

#pragma once

#include <string>
#include <vector>

#include "train_flags.hpp"

namespace wick::cli {

/// The devices that --devices names: "cuda:0,1", "cuda:0,cuda:1", "cuda" (all that are present), "cpu,cpu". Throws Error
/// kArgument for a list that is empty or malformed, that mixes kinds, or that names a GPU twice.
std::vector<Device> parse_devices(const std::string& text);

/// The device that one rank computes on. Throws Error kArgument when --devices names none for it.
Device device_of_rank(const TrainFlags& flags, const RankOptions& rank);

/// Runs `command_line` once per device, each process a rank, and waits for all. When one fails all are ended, and a message
/// says which it was, how it ended, and how to go on. The exit code is that of the ranks.
int run_ranks(const TrainFlags& flags, const std::vector<Device>& devices,
              const std::vector<std::string>& command_line);

}  // namespace wick::cli

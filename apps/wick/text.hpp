#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "wick/layout/device.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/train/optimizer.hpp"

namespace wick::cli {

/// "f32", "float32", "bfloat16", …; "auto" is nothing. Throws Error kArgument.
std::optional<DType> parse_dtype(const std::string& name);
/// "none", "selective" or "full", and yes and no for the last and the first, as a config file may have them; "auto" is
/// selective. Throws Error kArgument.
ComputeOptions parse_gradient_checkpointing(const std::string& name);
/// Words quoted where a shell would read them otherwise, separated by spaces.
std::string shell_line(const std::vector<std::string>& words);
/// A finite number. Throws Error kArgument with `what` it is for.
double parse_number(const std::string& text, const std::string& what);
/// "512MiB", "2GB", "1.5g" or bytes. Throws Error kArgument.
std::int64_t parse_bytes(const std::string& text);
/// "1.2 GiB".
std::string readable_bytes(std::int64_t bytes);
/// "1 h 02 min", "3 min 20 s", "12 s".
std::string readable_seconds(double seconds);
/// The most memory that this process has held, as the system counts it.
std::int64_t peak_memory_bytes();

/// As above on the CPU; on another device the most that its tensors have held.
std::int64_t peak_memory_bytes(Device device);

}  // namespace wick::cli

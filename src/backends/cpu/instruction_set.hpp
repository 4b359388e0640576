#pragma once

#include <span>
#include <string_view>

namespace wick::cpu {

/// Instruction sets that kernels are compiled for and this machine has, best first.
std::span<const std::string_view> instruction_sets();

/// Makes all kernels use `name`, one of instruction_sets(); empty means the best. Throws Error kArgument.
void select_instruction_set(std::string_view name);

/// The one in use, as seen by a function that is compiled for each and dispatched like a kernel.
std::string_view active_instruction_set();

}  // namespace wick::cpu

#pragma once

#include <span>
#include <string_view>

namespace wick::mps {

/// The Metal source of one family of kernels.
struct KernelSource {
  std::string_view family;
  std::string_view text;
};

/// All of them; CMake makes the list from kernels/*.metal.
std::span<const KernelSource> kernel_sources();

}  // namespace wick::mps

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace wick::bench {

/// A loop of products that depend on nothing but themselves; answers the FLOP of `rounds`.
struct ProductLoop {
  std::string name = "none";
  double (*run)(std::int64_t rounds) = nullptr;
};
ProductLoop product_loop(const std::string& dtype);

/// Moves `bytes`, a multiple of kLoopBytes, between places that are aligned to 64 bytes.
using MemoryLoop = void (*)(const std::byte* from, std::byte* to, std::int64_t bytes);
inline constexpr std::int64_t kLoopBytes = 512;
/// "read", "copy", "copy_nt"; null for another word.
MemoryLoop memory_loop(const std::string& kind);

}  // namespace wick::bench

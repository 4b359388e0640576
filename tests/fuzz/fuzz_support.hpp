#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

/// One input of a fuzz target: whatever it holds, the target must come back. libFuzzer's name.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace wick {

/// Ends the process when a property of a target does not hold.
inline void require(bool holds) {
  if (!holds) std::abort();
}

inline std::string text_of(const std::uint8_t* data, std::size_t size) {
  return {data, data + size};
}

}  // namespace wick

#pragma once

#include <cstdint>
#include <optional>

namespace wick {

/// An allocation that an allocator refused with Error kOutOfMemory.
struct Refusal {
  std::int64_t bytes = 0;       ///< asked for
  std::int64_t live_bytes = 0;  ///< of the allocator at that moment; unwinding frees much of it
};

/// The last refusal on this thread since it was asked before.
std::optional<Refusal> take_refusal() noexcept;

}  // namespace wick

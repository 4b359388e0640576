#pragma once

#include <cstdint>
#include <optional>

namespace wick {

/// Bytes that lived when an allocator last refused one with Error kOutOfMemory on this thread, unwinding frees much of
/// them; nothing where none did since this was asked before.
std::optional<std::int64_t> take_refused_live_bytes() noexcept;

}  // namespace wick

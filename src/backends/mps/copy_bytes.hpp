#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "wick/apple/metal.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

/// Enqueues data = source. `source` lies in `staged`, or is copied into the command buffer (at most 4,096 bytes).
void copy_bytes(Stream& stream, const std::optional<apple::metal::Buffer>& staged,
                std::span<const std::byte> source, void* data);

}  // namespace wick::mps

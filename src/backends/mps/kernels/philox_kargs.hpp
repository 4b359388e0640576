#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// RandomKeyArgs as kernels take it; offset_base is a buffer of its own.
struct RandomKey {
  uint64_t offset;
  uint32_t words[2];
  int32_t has_offset_base;
  int32_t unused;
};

/// Which elements are dropped, and by what the others grow.
struct DropoutRule {
  uint32_t threshold;
  float factor;
};

}  // namespace mps
}  // namespace wick

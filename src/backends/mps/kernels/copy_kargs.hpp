#pragma once

#include <cstdint>

#include "backends/mps/strided_kargs.hpp"

namespace wick {
namespace mps {

struct FillKargs {
  Loops<1> loops;
  int64_t integer;  ///< the value, for integer dtypes
  float floating;   ///< for floating ones
  int32_t unused;
};

struct CopyBytesKargs {
  int64_t bytes;
  int32_t aligned;  ///< whether both addresses are multiples of 16
  int32_t unused;
};

}  // namespace mps
}  // namespace wick

#pragma once

#include <cstdint>

#include "backends/mps/kernels/philox_kargs.hpp"

namespace wick {
namespace mps {

struct UniformKargs {
  RandomKey key;
  int64_t numel;
  float low;
  float width;
  float last;  ///< the largest number below the upper bound: rounding may reach the bound
  int32_t unused;
};

struct NormalKargs {
  RandomKey key;
  int64_t numel;
  float mean;
  float deviation;
};

struct DropoutKargs {
  RandomKey key;
  int64_t numel;
  DropoutRule rule;
};

}  // namespace mps
}  // namespace wick

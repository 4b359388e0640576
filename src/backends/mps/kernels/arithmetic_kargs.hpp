#pragma once

#include <cstdint>

namespace wick {
namespace mps {

enum BinaryOp : uint32_t { kBinaryAdd, kBinarySub, kBinaryMul };

struct ScaleKargs {
  int64_t numel;
  float factor;
  int32_t has_tensor;  ///< whether factor_tensor is there
};

}  // namespace mps
}  // namespace wick

#pragma once

#include <cstdint>

namespace wick {
namespace mps {

struct RopeKargs {
  int64_t x_batch, x_token, x_head;  ///< strides
  int64_t position_batch, position_token;
  int64_t tokens_each;  ///< T
  int32_t heads;
  int32_t width;  ///< Dh
  int32_t pairs;  ///< P
  float factor;
  float sign;  ///< −1 for the inverse rotation
  int32_t unused;
};

}  // namespace mps
}  // namespace wick

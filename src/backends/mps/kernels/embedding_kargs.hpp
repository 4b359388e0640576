#pragma once

#include <cstdint>

namespace wick {
namespace mps {

struct EmbeddingKargs {
  int64_t N, D, V;
  int64_t weight_stride;
};

}  // namespace mps
}  // namespace wick

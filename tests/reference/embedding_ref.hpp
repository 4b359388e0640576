#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out[n,:] = weight[ids[n],:]. weight [V,D], ids [...], out [...,D].
inline Array embedding_ref(const Array& weight, const Array& ids) {
  const std::int64_t D = weight.dim(1);
  std::vector<std::int64_t> shape = ids.shape;
  shape.push_back(D);
  Array out(shape);
  for (std::int64_t n = 0; n < ids.numel(); ++n) {
    const auto row = static_cast<std::int64_t>(ids[n]);
    for (std::int64_t d = 0; d < D; ++d) out[n * D + d] = weight[row * D + d];
  }
  return out;
}

}  // namespace wick::reference

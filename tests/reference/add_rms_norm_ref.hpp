#pragma once

#include <vector>

#include "reference/rms_norm_ref.hpp"

namespace wick::reference {

/// x + y and its RMS norm.
inline std::vector<Array> add_rms_norm_ref(const Array& x, const Array& y, const Array& w,
                                           double eps) {
  Array sum(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) sum[i] = x[i] + y[i];
  return {sum, rms_norm_ref(sum, w, eps)};
}

}  // namespace wick::reference

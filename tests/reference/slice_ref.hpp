#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out[…, i, …] = x[…, begin + i · step, …] along `axis`, for begin + i · step < end.
inline Array slice_ref(const Array& x, std::int64_t axis, std::int64_t begin, std::int64_t end,
                       std::int64_t step) {
  const auto along = static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis);
  std::vector<std::int64_t> shape = x.shape;
  shape[along] = 0;
  for (std::int64_t at = begin; at < end; at += step) ++shape[along];
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    std::vector<std::int64_t> index = unravel(i, shape);
    index[along] = begin + index[along] * step;
    std::int64_t from = 0;
    for (std::size_t k = 0; k < index.size(); ++k) from = from * x.shape[k] + index[k];
    out[i] = x[from];
  }
  return out;
}

}  // namespace wick::reference

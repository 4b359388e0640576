#pragma once

#include <span>

#include "reference/array.hpp"

namespace wick::reference {

/// out[…, s + i, …] = x[…, i, …] for each x of the list, s being the sizes before it along `axis`
/// added up.
inline Array concatenate_ref(std::span<const Array> arrays, std::int64_t axis) {
  std::vector<std::int64_t> shape = arrays.front().shape;
  const auto along = static_cast<std::size_t>(axis < 0 ? axis + arrays.front().rank() : axis);
  shape[along] = 0;
  for (const Array& x : arrays) shape[along] += x.shape[along];
  Array out(shape);
  std::int64_t start = 0;
  for (const Array& x : arrays) {
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      std::vector<std::int64_t> index = unravel(i, x.shape);
      index[along] += start;
      out[ravel_broadcast(index, shape)] = x[i];
    }
    start += x.shape[along];
  }
  return out;
}

}  // namespace wick::reference

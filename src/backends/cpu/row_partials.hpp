#pragma once

#include <cstdint>

#include "backends/cpu/scratch.hpp"
#include "layout/tensor_view.hpp"

namespace wick::cpu {

/// Gradients of a norm's weight add up over rows. The rows are cut into this many blocks, whatever the
/// number of threads, and each block sums into a row of its own: the result never depends on threads.
inline constexpr std::int64_t kRowPartials = 16;

/// out[d] = Σ_k partials[k,d]; partials [kRowPartials, D] f32, out [D] of any floating dtype.
void sum_row_partials(const float* partials, const TensorView& out);

/// A vector of any floating dtype as f32: the memory itself where it is f32 already, else a copy.
class AsFloat {
 public:
  /// `view` is dense with one dimension, or absent.
  AsFloat(Stream& stream, const TensorView& view);

  /// Null when the view was absent.
  const float* data() const noexcept { return data_; }

 private:
  ScratchArray<float> copy_;
  const float* data_;
};

}  // namespace wick::cpu

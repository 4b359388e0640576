#pragma once

#include "backends/cuda/kernels/attention_problem.cuh"

namespace wick::cuda {

/// What the tiled backward kernels need of each row, both [B,H,T]: lse, +∞ for a row without keys so that
/// its probabilities become 0, and delta = Σ dout · out.
struct RowStatistics {
  const float* lse;
  const float* delta;
};

/// A warp for each row of dense dout, out [B,T,H,Dh].
template <class T, int kWidth>
__global__ void attention_statistics(const AttentionProblem p, const T* dout, const T* out,
                                     const float* lse, float* safe_lse, float* delta) {
  const std::int64_t row =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  if (row >= static_cast<std::int64_t>(p.B) * p.T * p.H) return;
  const int lane = threadIdx.x % kWarp;
  float sum = 0;
  for (int d = lane * kWidth; d < p.Dh; d += kWarp * kWidth) {
    float a[kWidth];
    float b[kWidth];
    load_pack<kWidth>(dout + row * p.Dh + d, a);
    load_pack<kWidth>(out + row * p.Dh + d, b);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum = fmaf(a[i], b[i], sum);
  }
  sum = warp_reduce<Sum>(sum);
  if (lane != 0) return;
  const std::int64_t token = row / p.H;
  const std::int64_t at = (token / p.T * p.H + row % p.H) * p.T + token % p.T;
  delta[at] = sum;
  safe_lse[at] = lse[at] == -INFINITY ? INFINITY : lse[at];
}

/// Enqueues the statistics of a call into memory for 2 · B · H · T floats.
template <class T>
RowStatistics make_row_statistics(Stream& stream, const AttentionProblem& p,
                                  const AttentionBackwardArgs& a, float* memory) {
  constexpr int kRowsEach = 8;
  const std::int64_t rows = std::int64_t{p.B} * p.T * p.H;
  const T* const dout = data_of<const T>(a.dout);
  const T* const out = data_of<const T>(a.out);
  const bool wide = p.Dh % kPackSize<T> == 0 && is_aligned(dout, 16) && is_aligned(out, 16);
  launch_on(stream, wide ? attention_statistics<T, kPackSize<T>> : attention_statistics<T, 1>,
            static_cast<unsigned>(ceil_div(rows, kRowsEach)), kRowsEach * kWarp, 0, p, dout, out,
            data_of<const float>(a.lse), memory, memory + rows);
  return {.lse = memory, .delta = memory + rows};
}

}  // namespace wick::cuda

#include "backends/cpu/lora_split.hpp"

#include <utility>

#include "backends/cpu/cpu_stream.hpp"

namespace wick::cpu {

bool splits_adapter(DType x, DType adapter, std::int64_t rows) {
  constexpr std::int64_t kLeastRows = 32;  // below, splitting costs more than it saves
  if (x != DType::kBF16 || adapter != DType::kF32 || rows < kLeastRows) return false;
  return bf16_unit(gemm_variant()) == Bf16Unit::kAmx;
}

SplitMatrix::SplitMatrix(Stream& stream, const float* x, std::int64_t rows, std::int64_t columns,
                         std::span<const Bf16Part> parts, PartsLayout layout, float factor)
    : memory_(stream, rows * columns * static_cast<std::int64_t>(parts.size())),
      row_stride_(columns) {
  if (layout == PartsLayout::kStacked) {
    split_rows(x, 1, rows * columns, factor, parts, memory_.data());
    return;
  }
  row_stride_ *= static_cast<std::int64_t>(parts.size());
  parallel_for(stream, rows, row_grain(row_stride_), [&](std::int64_t begin, std::int64_t end) {
    split_rows(x + begin * columns, end - begin, columns, factor, parts,
               memory_.data() + begin * row_stride_);
  });
}

void multiply_split(Stream& stream, const Operand& a, const Operand& b, std::int64_t M,
                    std::int64_t R, std::int64_t K, float* out) {
  const ScratchArray<float> parts(stream, M * 2 * R);
  const Term terms[] = {{.a = a, .b = b, .K = K}};
  gemm(stream,
       {.M = M, .N = 2 * R, .terms = terms, .c = {.data = parts.data(), .row_stride = 2 * R}},
       gemm_variant());
  for (std::int64_t m = 0; m < M; ++m) {
    const float* const row = parts.data() + m * 2 * R;
    for (std::int64_t r = 0; r < R; ++r) out[m * R + r] = row[r] + row[R + r];
  }
}

void split_gradient(Stream& stream, const SplitGradient& g) {
  const SplitMatrix a(stream, g.a, g.M, g.R, kHighLow, PartsLayout::kSideBySide, g.scale);
  Operand left = a.operand();
  std::swap(left.row_stride, left.column_stride);
  const ScratchArray<float> parts(stream, 2 * g.R * g.N);
  const Term terms[] = {{.a = left, .b = g.b, .K = g.M}};
  gemm(stream,
       {.M = 2 * g.R, .N = g.N, .terms = terms, .c = {.data = parts.data(), .row_stride = g.N}},
       gemm_variant());
  const float* const high = parts.data();
  const float* const low = high + g.R * g.N;
  if (!g.transposed) {
    for (std::int64_t i = 0; i < g.R * g.N; ++i) g.out[i] = high[i] + low[i];
    return;
  }
  for (std::int64_t n = 0; n < g.N; ++n) {
    for (std::int64_t r = 0; r < g.R; ++r)
      g.out[n * g.R + r] = high[r * g.N + n] + low[r * g.N + n];
  }
}

}  // namespace wick::cpu

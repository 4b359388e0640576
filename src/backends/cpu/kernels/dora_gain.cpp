#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/dora_gain.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/f64_lanes-inl.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/dora_gain_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// Σ (w[i] + update[i])² for i < n.
template <class T>
double sum_of_squared_sums(const T* w, const float* update, std::int64_t n) {
  auto lower = hn::Zero(F64());
  auto upper = hn::Zero(F64());
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto v = hn::Add(load_some(w + i, count), load_some(update + i, count));
    const auto low = lower_as_f64(v);
    const auto high = upper_as_f64(v);
    lower = hn::MulAdd(low, low, lower);
    upper = hn::MulAdd(high, high, upper);
  });
  return hn::GetLane(hn::SumOfLanes(F64(), hn::Add(lower, upper)));
}

// squares[i] += the squares of rows row + i of w, columns [column, column + columns), with the dense
// `update` [rows, columns] added to them.
void add_squares(const TensorView& w, const float* update, std::int64_t row, std::int64_t rows,
                 std::int64_t column, std::int64_t columns, double* squares) {
  switch_floating(w.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const first = data_as<const T>(w) + row * w.stride(0) + column;
    for (std::int64_t i = 0; i < rows; ++i) {
      squares[i] += sum_of_squared_sums(first + i * w.stride(0), update + i * columns, columns);
    }
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(add_squares);

namespace {

// The update scale · b a is made in parts of this size, which stay in a second-level cache until
// their squares are added up: nothing of w's size is ever made.
constexpr std::int64_t kPartRows = 64;
constexpr std::int64_t kPartColumns = 1024;

// part [rows, columns] = scale · b a from (row, column) on.
void make_part(Stream& stream, const DoraGainArgs& args, std::int64_t row, std::int64_t rows,
               std::int64_t column, std::int64_t columns, float* part) {
  const std::int64_t R = args.a.dim(0);
  const std::int64_t K = args.a.dim(1);
  const auto element = [](const TensorView& x, std::int64_t index) -> const void* {
    return static_cast<const std::byte*>(x.data) +
           index * static_cast<std::int64_t>(size_of(x.dtype));
  };
  const Term terms[] = {
      {.a = {.data = element(args.b, row * R), .dtype = args.b.dtype, .row_stride = R},
       .b = {.data = element(args.a, column), .dtype = args.a.dtype, .row_stride = K},
       .K = R,
       .alpha = args.scale}};
  gemm(stream,
       {.M = rows, .N = columns, .terms = terms, .c = {.data = part, .row_stride = columns}},
       gemm_variant());
}

// Rows [row, row + rows) of the result, at most kPartRows.
void gains_of_rows(Stream& stream, const DoraGainArgs& args, std::int64_t row, std::int64_t rows,
                   float* part) {
  const std::int64_t K = args.w.dim(1);
  const float* const magnitude = data_as<const float>(args.magnitude);
  float* const out = data_as<float>(args.out);
  float* const norms = args.norm ? data_as<float>(args.norm) : nullptr;
  double squares[kPartRows] = {};
  for (std::int64_t column = 0; column < K; column += kPartColumns) {
    const std::int64_t columns = std::min(kPartColumns, K - column);
    make_part(stream, args, row, rows, column, columns, part);
    HWY_DYNAMIC_DISPATCH(add_squares)(args.w, part, row, rows, column, columns, squares);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const double norm = std::sqrt(squares[i]);
    out[row + i] = norm == 0 ? 0.0F : static_cast<float>(magnitude[row + i] / norm);
    if (norms != nullptr) norms[row + i] = static_cast<float>(norm);
  }
}

}  // namespace

// A task owns blocks of rows. gemm(), called inside of one, runs on its thread alone.
KernelStatus dora_gain(Stream& stream, const DoraGainArgs& a) {
  const std::int64_t N = a.w.dim(0);
  const std::int64_t K = a.w.dim(1);
  const std::int64_t blocks = (N + kPartRows - 1) / kPartRows;
  const std::int64_t part_size = std::min(N, kPartRows) * std::min(K, kPartColumns);
  parallel_for(stream, blocks, row_grain(kPartRows * K), [&](std::int64_t begin, std::int64_t end) {
    const ScratchArray<float> part(stream, part_size);
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t row = block * kPartRows;
      gains_of_rows(stream, a, row, std::min(kPartRows, N - row), part.data());
    }
  });
  return KernelStatus::ok();
}

// A task owns a range of elements.
KernelStatus dora_gain_backward(Stream& stream, const DoraGainBackwardArgs& a) {
  const float* const dy = data_as<const float>(a.dy);
  const float* const norm = data_as<const float>(a.norm);
  float* const dmagnitude = data_as<float>(a.dmagnitude);
  parallel_for(stream, a.dy.numel(), row_grain(1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      dmagnitude[i] = norm[i] == 0 ? 0.0F : dy[i] / norm[i];
    }
  });
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

#include "backends/cpu/gemm_double.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm_double.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <type_traits>

#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/f64_lanes-inl.hpp"
#include "backends/cpu/gemm_plain.hpp"
#include "backends/cpu/gemm_plan.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// Two vectors of columns of four rows; the last of the `count` rows stands in for those missing.
HWY_INLINE void add_four_rows(const DoubleProduct& p, std::int64_t row, std::int64_t count,
                              std::int64_t column) {
  constexpr std::int64_t kRows = 4;
  const F64 d;
  const auto lanes_of_f64 = static_cast<std::int64_t>(hn::Lanes(d));
  const double* a[kRows];
  F64Vec left[kRows];
  F64Vec right[kRows];
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kRows; ++i) {
    a[i] = p.a + (row + std::min(i, count - 1)) * p.a_stride;
    left[i] = hn::Zero(d);
    right[i] = hn::Zero(d);
  }
  const double* b = p.b + column;
  for (std::int64_t k = 0; k < p.K; ++k, b += p.columns) {
    const auto b_left = hn::LoadU(d, b);
    const auto b_right = hn::LoadU(d, b + lanes_of_f64);
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kRows; ++i) {
      const auto factor = hn::Set(d, a[i][k]);
      left[i] = hn::MulAdd(factor, b_left, left[i]);
      right[i] = hn::MulAdd(factor, b_right, right[i]);
    }
  }
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kRows; ++i) {
    if (i == count) break;
    double* const sums = p.sums + (row + i) * p.columns + column;
    hn::StoreU(hn::Add(hn::LoadU(d, sums), left[i]), d, sums);
    double* const next = sums + lanes_of_f64;
    hn::StoreU(hn::Add(hn::LoadU(d, next), right[i]), d, next);
  }
}

void add_in_double_here(const DoubleProduct& p) {
  const std::int64_t step = 2 * static_cast<std::int64_t>(hn::Lanes(F64()));
  for (std::int64_t column = 0; column < p.columns; column += step) {
    for (std::int64_t row = 0; row < p.rows; row += 4) {
      add_four_rows(p, row, std::min<std::int64_t>(4, p.rows - row), column);
    }
  }
}

// out [rows, width] = factor · x, and zeros behind each row; rows of x are x_stride apart.
void widen_here(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns,
                double factor, double* out, std::int64_t width) {
  const F64 d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  const auto vfactor = hn::Set(d, factor);
  for (std::int64_t i = 0; i < rows; ++i, x += x_stride, out += width) {
    std::int64_t j = 0;
    for (; j + step <= columns; j += step) {
      const auto v = hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, F64>(), x + j));
      hn::StoreU(hn::Mul(v, vfactor), d, out + j);
    }
    for (; j < columns; ++j) out[j] = factor * static_cast<double>(x[j]);
    for (; j < width; ++j) out[j] = 0;
  }
}

// out = sums, rounded; rows of each `width` and `stride` apart.
void round_here(const double* sums, std::int64_t width, std::int64_t rows, std::int64_t columns,
                float* out, std::int64_t stride) {
  const F64 d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < rows; ++i, sums += width, out += stride) {
    std::int64_t j = 0;
    // Without vectors of the processor Highway makes the largest finite value where it should be infinity.
    constexpr bool kIsPlain = HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128;
    while (!kIsPlain && j + step <= columns) {
      const hn::Rebind<float, F64> df;
      hn::StoreU(hn::DemoteTo(df, hn::LoadU(d, sums + j)), df, out + j);
      j += step;
    }
    for (; j < columns; ++j) out[j] = static_cast<float>(sums[j]);
  }
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(add_in_double_here);
HWY_EXPORT(widen_here);
HWY_EXPORT(round_here);

namespace {

constexpr std::int64_t kMostElements = 1 << 15;
constexpr std::int64_t kMostMultiplications = 1 << 20;
constexpr std::int64_t kFewRows = 4;

// Largest blocks of c, and how far along K they are summed in one go.
constexpr std::int64_t kRows = 64;
constexpr std::int64_t kColumns = 32;
constexpr std::int64_t kDepth = 64;
// Multiplications that are worth a thread.
constexpr std::int64_t kLeastWork = 50'000;

constexpr std::int64_t divide_up(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

bool is_read(const Term& term) { return term.alpha != 0 && term.K != 0; }

// Where a part of a matrix lies in it.
struct Part {
  std::int64_t row, column, rows, columns;
};

// One block of c after the other. On a thread's stack: 80 KiB, since memory of the allocator would be most of what a small
// product takes.
class DoubleBlocks {
 public:
  explicit DoubleBlocks(const Product& product) : p_(product) {}

  // `block` of the g-th matrix.
  void run(std::int64_t g, const Part& block) {
    const std::int64_t width = columns_in_double(block.columns);
    std::fill_n(sums_.data(), block.rows * width, 0.0);
    for (const Term& term : p_.terms) {
      if (is_read(term)) add(term, g, block, width);
    }
    switch_floating(p_.c.dtype, [&]<class T>(std::type_identity<T>) { store<T>(g, block, width); });
  }

 private:
  void add(const Term& term, std::int64_t g, const Part& block, std::int64_t width) {
    for (std::int64_t k = 0; k < term.K; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, term.K - k);
      read(term.a, g, {block.row, k, block.rows, depth}, static_cast<double>(term.alpha), a_.data(),
           depth);
      read(term.b, g, {k, block.column, depth, block.columns}, 1, b_.data(), width);
      add_in_double({.rows = block.rows,
                     .columns = width,
                     .K = depth,
                     .a = a_.data(),
                     .a_stride = depth,
                     .b = b_.data(),
                     .sums = sums_.data()});
    }
    if (term.map_sum == nullptr) return;
    round(block, width, floats_.data(), block.columns);
    change(*term.map_sum, block);
    widen(floats_.data(), block.columns, block, 1, sums_.data(), width);
  }

  // out [part.rows, width] = factor · a part of the g-th matrix, mapped, and zeros behind each row.
  void read(Operand x, std::int64_t g, const Part& part, double factor, double* out,
            std::int64_t width) {
    const std::int64_t first =
        g * x.batch_stride + part.row * x.row_stride + part.column * x.column_stride;
    x.data =
        static_cast<const std::byte*>(x.data) + first * static_cast<std::int64_t>(size_of(x.dtype));
    if (x.column_stride == 1 && x.map == nullptr && x.dtype == DType::kF32) {
      return widen(static_cast<const float*>(x.data), x.row_stride, part, factor, out, width);
    }
    panel_to_float(with_plain_strides(x, part.rows, part.columns), part.rows, part.columns,
                   floats_.data());
    if (x.map != nullptr) change(*x.map, part);
    widen(floats_.data(), part.columns, part, factor, out, width);
  }

  void change(const TileFunction& map, const Part& part) {
    map({floats_.data(), part.columns, part.row, part.column, part.rows, part.columns});
  }

  static void widen(const float* x, std::int64_t x_stride, const Part& part, double factor,
                    double* out, std::int64_t width) {
    HWY_DYNAMIC_DISPATCH(widen_here)(x, x_stride, part.rows, part.columns, factor, out, width);
  }

  void round(const Part& block, std::int64_t width, float* out, std::int64_t stride) const {
    HWY_DYNAMIC_DISPATCH(round_here)(sums_.data(), width, block.rows, block.columns, out, stride);
  }

  template <class T>
  void store(std::int64_t g, const Part& block, std::int64_t width) const {
    const Result& result = p_.c;
    T* c = static_cast<T*>(result.data) + g * result.batch_stride + block.row * result.row_stride +
           block.column;
    if constexpr (std::is_same_v<T, float>) {
      if (p_.beta == 0) return round(block, width, c, result.row_stride);
    }
    for (std::int64_t i = 0; i < block.rows; ++i, c += result.row_stride) {
      for (std::int64_t j = 0; j < block.columns; ++j) {
        double sum = sums_.data()[i * width + j];
        if (p_.beta != 0) {
          sum += static_cast<double>(p_.beta) * static_cast<double>(static_cast<float>(c[j]));
        }
        c[j] = static_cast<T>(static_cast<float>(sum));
      }
    }
  }

  const Product& p_;
  std::array<double, kRows * kDepth> a_;
  std::array<double, kDepth * kColumns> b_;
  std::array<double, kRows * kColumns> sums_;
  std::array<float, kDepth * std::max(kRows, kColumns)> floats_;
};

}  // namespace

void add_in_double(const DoubleProduct& product) {
  HWY_DYNAMIC_DISPATCH(add_in_double_here)(product);
}

bool is_small_for_double(const Product& p) {
  std::int64_t K = 0;
  bool fits = p.M > kFewRows && p.c.dtype == DType::kF32 && p.G * p.M * p.N <= kMostElements;
  for (const Term& term : p.terms) {
    if (!is_read(term)) continue;
    K += term.K;
    fits = fits && term.a.dtype == DType::kF32 && term.b.dtype == DType::kF32 &&
           p.G * p.M * term.K <= kMostElements && p.G * term.K * p.N <= kMostElements;
  }
  return fits && p.G * p.M * p.N * K <= kMostMultiplications;
}

void multiply_in_double(Stream& stream, const Product& p) {
  std::int64_t K = 1;
  for (const Term& term : p.terms) K += is_read(term) ? term.K : 0;
  const std::int64_t down = divide_up(p.M, kRows);
  const std::int64_t blocks_of_one = down * divide_up(p.N, kColumns);
  const std::int64_t work = std::min(p.M, kRows) * std::min(p.N, kColumns) * K;
  parallel_for(stream, p.G * blocks_of_one, 1 + kLeastWork / work,
               [&](std::int64_t begin, std::int64_t end) {
                 DoubleBlocks blocks(p);
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t row = i % blocks_of_one % down * kRows;
                   const std::int64_t column = i % blocks_of_one / down * kColumns;
                   blocks.run(i / blocks_of_one, {.row = row,
                                                  .column = column,
                                                  .rows = std::min(kRows, p.M - row),
                                                  .columns = std::min(kColumns, p.N - column)});
                 }
               });
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

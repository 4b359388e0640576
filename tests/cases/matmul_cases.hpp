#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "cases/layout_cases.hpp"
#include "reference/matmul_ref.hpp"
#include "wick/ops/matmul.hpp"

namespace wick::testing {

/// M rows, N columns, K products.
struct MatmulSize {
  std::int64_t M, N, K;
  std::string name() const { return fmt::format("{}x{}x{}", M, N, K); }
};

/// Around the widths of vectors and of blocks of gemm kernels, small enough for gradients.
inline std::vector<MatmulSize> small_sizes() {
  return {{1, 1, 1},    {2, 3, 5},    {1, 17, 31},  {7, 1, 13},   {3, 5, 1},    {4, 8, 16},
          {5, 9, 17},   {3, 7, 15},   {15, 16, 31}, {16, 17, 32}, {17, 15, 33}, {31, 33, 15},
          {32, 64, 8},  {33, 63, 7},  {63, 65, 9},  {64, 64, 17}, {65, 31, 16}, {1, 64, 128},
          {1, 129, 65}, {1, 65, 127}, {127, 1, 63}, {6, 32, 129}, {8, 12, 64},  {14, 48, 65}};
}

/// Without gradients.
inline std::vector<MatmulSize> large_sizes() {
  return {{127, 129, 33}, {128, 128, 64}, {129, 127, 65}, {1, 257, 1025}, {1031, 3, 64},
          {3, 1031, 65},  {2, 2, 4099},   {513, 17, 16},  {17, 513, 31},  {255, 33, 129}};
}

/// Empty in one way or another.
inline std::vector<MatmulSize> empty_sizes() {
  return {{0, 5, 3}, {5, 0, 3}, {5, 3, 0}, {0, 0, 0}, {1, 1, 0}};
}

/// Shapes of op(a) and op(b) whose batches broadcast.
struct MatmulShapes {
  std::string name;
  Shape a, b;
};

inline std::vector<MatmulShapes> batched_shapes() {
  return {{"batch_a", {3, 5, 7}, {7, 9}},
          {"batch_b", {5, 7}, {3, 7, 9}},
          {"batch_both", {3, 5, 7}, {3, 7, 9}},
          {"batch_of_1_a", {1, 5, 7}, {4, 7, 9}},
          {"batch_of_1_b", {4, 5, 7}, {1, 7, 9}},
          {"batch_crosswise", {2, 1, 5, 7}, {1, 3, 7, 9}},
          {"batch_inner", {2, 3, 5, 7}, {3, 7, 9}},
          {"batch_outer", {2, 3, 5, 7}, {2, 1, 7, 9}},
          {"batch_rank_4", {2, 3, 17, 8}, {2, 3, 8, 16}},
          {"batch_rank_6", {2, 1, 2, 1, 3, 4}, {1, 2, 1, 2, 4, 5}},
          {"batch_of_rows", {6, 1, 33}, {6, 33, 17}},
          {"batch_empty", {0, 3, 4}, {0, 4, 5}},
          {"batch_empty_shared", {0, 3, 4}, {4, 5}},
          {"batch_empty_k", {2, 3, 0}, {0, 5}}};
}

/// The shape of the operand whose op() has this one.
inline Shape stored(const Shape& shape, bool is_transposed) {
  std::vector<std::int64_t> dims = shape.to_vector();
  if (is_transposed) std::swap(dims.end()[-1], dims.end()[-2]);
  return Shape(std::span<const std::int64_t>(dims));
}

inline reference::MatmulForm form_of(const MatmulOptions& options) {
  return {.transpose_a = options.transpose_a,
          .transpose_b = options.transpose_b,
          .alpha = as_f32(options.alpha)};
}

/// A number as part of a case's name: -0.5 is minus_0_5.
inline std::string number_name(double number) {
  std::string name = fmt::format("{}{}", number < 0 ? "minus_" : "", number < 0 ? -number : number);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

inline double flops_of(const MatmulSize& size) {
  return 2.0 * static_cast<double>(size.M) * static_cast<double>(size.N) *
         static_cast<double>(size.K);
}

inline double elements_of(const MatmulSize& size) {
  return static_cast<double>(size.M * size.K + size.K * size.N + size.M * size.N);
}

}  // namespace wick::testing

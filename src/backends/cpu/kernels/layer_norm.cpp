#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/layer_norm.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/row_partials.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/norm_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

template <class T>
float row_mean(const T* x, std::int64_t D) {
  auto sum = hn::Zero(F32());
  for_each_vector(
      D, [&](std::int64_t i, std::int64_t n) HWY_ATTR { sum = hn::Add(sum, load_some(x + i, n)); });
  return sum_lanes(sum) / static_cast<float>(D);
}

// mean((x − mean)²), from the differences: the mean of the squares less the square of the mean
// would lose the digits that matter where the mean is large.
template <class T>
float row_variance(const T* x, float mean, std::int64_t D) {
  const auto vmean = hn::Set(F32(), mean);
  auto squares = hn::Zero(F32());
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto difference = hn::Sub(load_some(x + i, n, mean), vmean);
    squares = hn::MulAdd(difference, difference, squares);
  });
  return sum_lanes(squares) / static_cast<float>(D);
}

// out[d] = (x[d] − mean) · inv · w[d] + bias[d] for one row; w and bias are f32, bias may be null.
template <class T>
void layer_norm_row(const T* x, const float* w, const float* bias, float mean, float inv, T* out,
                    std::int64_t D) {
  const auto vmean = hn::Set(F32(), mean);
  const auto factor = hn::Set(F32(), inv);
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto normed = hn::Mul(hn::Sub(load_some(x + i, n), vmean), factor);
    const auto shift = bias == nullptr ? hn::Zero(F32()) : load_some(bias + i, n);
    store_some(hn::MulAdd(normed, load_some(w + i, n), shift), out + i, n);
  });
}

// Sums over rows, each [D] or null where it is not wanted.
struct GradientSums {
  float* dw;
  float* dbias;
};

// With n = (x − mean) · inv and g = dy · w: dx = inv (g − mean(g) − n · mean(g · n)).
template <class T>
void layer_norm_backward_row(const T* dy, const T* x, const float* w, float mean, float inv, T* dx,
                             const GradientSums& sums, std::int64_t D) {
  const auto vmean = hn::Set(F32(), mean);
  const auto vinv = hn::Set(F32(), inv);
  auto sum = hn::Zero(F32());
  auto dot = hn::Zero(F32());
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto vdy = load_some(dy + i, n);
    const auto normed = hn::Mul(hn::Sub(load_some(x + i, n), vmean), vinv);
    const auto g = hn::Mul(vdy, load_some(w + i, n));
    sum = hn::Add(sum, g);
    dot = hn::MulAdd(g, normed, dot);
    if (sums.dw != nullptr) {
      store_some(hn::MulAdd(vdy, normed, load_some(sums.dw + i, n)), sums.dw + i, n);
    }
    if (sums.dbias != nullptr) {
      store_some(hn::Add(vdy, load_some(sums.dbias + i, n)), sums.dbias + i, n);
    }
  });
  if (dx == nullptr) return;
  const auto mean_g = hn::Set(F32(), sum_lanes(sum) / static_cast<float>(D));
  const auto mean_gn = hn::Set(F32(), sum_lanes(dot) / static_cast<float>(D));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto normed = hn::Mul(hn::Sub(load_some(x + i, n), vmean), vinv);
    const auto centred = hn::MulSub(load_some(dy + i, n), load_some(w + i, n), mean_g);
    store_some(hn::Mul(vinv, hn::NegMulAdd(normed, mean_gn, centred)), dx + i, n);
  });
}

// x [R,D] rows a.x.stride(0) apart, weight and bias [D] as f32. A task owns whole rows.
void layer_norm_rows(Stream& stream, const LayerNormArgs& a, const float* weight,
                     const float* bias) {
  const std::int64_t D = a.x.dim(1);
  float* const means = a.mean ? data_as<float>(a.mean) : nullptr;
  float* const inv_stds = a.inv_std ? data_as<float>(a.inv_std) : nullptr;
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(a.x);
    T* const out = data_as<T>(a.out);
    parallel_for(stream, a.x.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* const row = x + r * a.x.stride(0);
        const float mean = row_mean(row, D);
        const float inv = 1.0F / std::sqrt(row_variance(row, mean, D) + a.eps);
        layer_norm_row(row, weight, bias, mean, inv, out + r * D, D);
        if (means != nullptr) means[r] = mean;
        if (inv_stds != nullptr) inv_stds[r] = inv;
      }
    });
  });
}

// As above; dw and dbias [kRowPartials,D] may be null. A task owns blocks of rows, one row of sums
// each.
void layer_norm_backward_rows(Stream& stream, const LayerNormBackwardArgs& a, const float* weight,
                              float* dw, float* dbias) {
  const std::int64_t R = a.x.dim(0);
  const std::int64_t D = a.x.dim(1);
  const std::int64_t rows_per_block = (R + kRowPartials - 1) / kRowPartials;
  const float* const means = data_as<const float>(a.mean);
  const float* const inv_stds = data_as<const float>(a.inv_std);
  const auto zeroed_row = [&](float* sums, std::int64_t block) {
    if (sums == nullptr) return sums;
    std::fill_n(sums + block * D, D, 0.0F);
    return sums + block * D;
  };
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(a.dy);
    const T* const x = data_as<const T>(a.x);
    T* const dx = a.dx ? data_as<T>(a.dx) : nullptr;
    parallel_for(stream, kRowPartials, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) {
        const GradientSums sums{zeroed_row(dw, block), zeroed_row(dbias, block)};
        const std::int64_t last = std::min(R, (block + 1) * rows_per_block);
        for (std::int64_t r = block * rows_per_block; r < last; ++r) {
          layer_norm_backward_row(dy + r * D, x + r * a.x.stride(0), weight, means[r], inv_stds[r],
                                  dx == nullptr ? nullptr : dx + r * D, sums, D);
        }
      }
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(layer_norm_rows);
HWY_EXPORT(layer_norm_backward_rows);

KernelStatus layer_norm(Stream& stream, const LayerNormArgs& a) {
  const AsFloat weight(stream, a.weight);
  const AsFloat bias(stream, a.bias);
  HWY_DYNAMIC_DISPATCH(layer_norm_rows)(stream, a, weight.data(), bias.data());
  return KernelStatus::ok();
}

KernelStatus layer_norm_backward(Stream& stream, const LayerNormBackwardArgs& a) {
  const std::int64_t D = a.x.dim(1);
  const AsFloat weight(stream, a.weight);
  const ScratchArray<float> dw(stream, a.dweight ? kRowPartials * D : 0);
  const ScratchArray<float> dbias(stream, a.dbias ? kRowPartials * D : 0);
  HWY_DYNAMIC_DISPATCH(layer_norm_backward_rows)(stream, a, weight.data(), dw.data(), dbias.data());
  if (a.dweight) sum_row_partials(dw.data(), a.dweight);
  if (a.dbias) sum_row_partials(dbias.data(), a.dbias);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/rms_norm.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

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

// out[d] = x[d] · inv · w[d] for one row; w is f32. Returns inv = 1/√(mean(x²) + eps).
template <class T>
float rms_norm_row(const T* x, const float* w, T* out, std::int64_t D, float eps) {
  const auto squares = sum_vectors(D, [&](F32Vec sum, std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto v = load_some(x + i, n);
    return hn::MulAdd(v, v, sum);
  });
  // In double, since an error here is one of all its elements.
  const double mean = static_cast<double>(sum_lanes(squares)) / static_cast<double>(D);
  const auto inv = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
  const auto factor = hn::Set(F32(), inv);
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto normed = hn::Mul(load_some(x + i, n), factor);
    store_some(hn::Mul(normed, load_some(w + i, n)), out + i, n);
  });
  return inv;
}

// sum[d] = x[d] + y[d] for one row.
template <class T>
void add_row(const T* x, const T* y, T* sum, std::int64_t D) {
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    store_some(hn::Add(load_some(x + i, n), load_some(y + i, n)), sum + i, n);
  });
}

// With n = x · inv, g = dy · w: dx = inv (g − n · mean(g · n)) + dsum; dw += dy · n. dx, dw and dsum may be null.
template <class T>
void rms_norm_backward_row(const T* dy, const T* x, const float* w, float inv, const T* dsum, T* dx,
                           float* dw, std::int64_t D) {
  const auto vinv = hn::Set(F32(), inv);
  const auto dot = sum_vectors(D, [&](F32Vec sum, std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto vdy = load_some(dy + i, n);
    const auto normed = hn::Mul(load_some(x + i, n), vinv);
    if (dw != nullptr) store_some(hn::MulAdd(vdy, normed, load_some(dw + i, n)), dw + i, n);
    return hn::MulAdd(hn::Mul(vdy, load_some(w + i, n)), normed, sum);
  });
  if (dx == nullptr) return;
  const auto mean = hn::Set(F32(), sum_lanes(dot) / static_cast<float>(D));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto normed = hn::Mul(load_some(x + i, n), vinv);
    const auto g = hn::Mul(load_some(dy + i, n), load_some(w + i, n));
    const auto own = hn::Mul(vinv, hn::NegMulAdd(normed, mean, g));
    store_some(dsum == nullptr ? own : hn::Add(own, load_some(dsum + i, n)), dx + i, n);
  });
}

// x [R,D] rows a.x.stride(0) apart, weight [D] as f32. A task owns whole rows.
void rms_norm_rows(Stream& stream, const RmsNormArgs& a, const float* weight) {
  const std::int64_t D = a.x.dim(1);
  float* const inv_rms = a.inv_rms ? data_as<float>(a.inv_rms) : nullptr;
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(a.x);
    const T* const addend = a.addend ? data_as<const T>(a.addend) : nullptr;
    T* const sum = a.addend ? data_as<T>(a.sum) : nullptr;
    T* const out = data_as<T>(a.out);
    parallel_for(stream, a.x.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* row = x + r * a.x.stride(0);
        if (addend != nullptr) {
          add_row(row, addend + r * D, sum + r * D, D);
          row = sum + r * D;
        }
        const float inv = rms_norm_row(row, weight, out + r * D, D, a.eps);
        if (inv_rms != nullptr) inv_rms[r] = inv;
      }
    });
  });
}

void rms_norm_backward_rows(Stream& stream, const RmsNormBackwardArgs& a, const float* weight,
                            float* partials) {
  const std::int64_t R = a.x.dim(0);
  const std::int64_t D = a.x.dim(1);
  const std::int64_t rows_per_block = (R + kRowPartials - 1) / kRowPartials;
  const float* const inv_rms = data_as<const float>(a.inv_rms);
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(a.dy);
    const T* const x = data_as<const T>(a.x);
    const T* const dsum = a.dsum ? data_as<const T>(a.dsum) : nullptr;
    T* const dx = a.dx ? data_as<T>(a.dx) : nullptr;
    parallel_for(stream, kRowPartials, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) {
        float* const dw = partials == nullptr ? nullptr : partials + block * D;
        for (std::int64_t d = 0; dw != nullptr && d < D; ++d) dw[d] = 0;
        const std::int64_t last = std::min(R, (block + 1) * rows_per_block);
        for (std::int64_t r = block * rows_per_block; r < last; ++r) {
          rms_norm_backward_row(dy + r * D, x + r * a.x.stride(0), weight, inv_rms[r],
                                dsum == nullptr ? nullptr : dsum + r * D,
                                dx == nullptr ? nullptr : dx + r * D, dw, D);
        }
      }
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(rms_norm_backward_rows);

KernelStatus rms_norm(Stream& stream, const RmsNormArgs& a) {
  const AsFloat weight(stream, a.weight);
  HWY_DYNAMIC_DISPATCH(rms_norm_rows)(stream, a, weight.data());
  return KernelStatus::ok();
}

KernelStatus rms_norm_backward(Stream& stream, const RmsNormBackwardArgs& a) {
  const std::int64_t D = a.x.dim(1);
  const AsFloat weight(stream, a.weight);
  const ScratchArray<float> partials(stream, a.dweight ? kRowPartials * D : 0);
  HWY_DYNAMIC_DISPATCH(rms_norm_backward_rows)(stream, a, weight.data(), partials.data());
  if (a.dweight) sum_row_partials(partials.data(), a.dweight);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

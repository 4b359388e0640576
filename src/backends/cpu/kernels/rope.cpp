#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/rope.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <numbers>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/rope_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

using RopeF64 = hn::ScalableTag<double>;

// cosines[i] = factor · cos(position · frequencies[i]), sines alike with factor · sign; all arrays
// have `padded` elements, a multiple of the lanes of a vector of f32. The angle is rounded to f32:
// models were trained with such angles, and at position 8000 that rounding moves a cosine by up to
// 2e-4. All else is double, so that the results are off by f32 rounding alone.
void rope_angles(double position, const double* frequencies, double factor, double sign,
                 std::int64_t padded, float* cosines, float* sines) {
  const RopeF64 d;
  const hn::Rebind<float, RopeF64> df;
  const auto turns_per_radian = hn::Set(d, 0.5 / std::numbers::pi);
  const auto radians_per_turn = hn::Set(d, 2.0 * std::numbers::pi);
  constexpr double kPiRest = 1.2246467991473532e-16;  // π minus its double
  const auto rest_per_turn = hn::Set(d, 2.0 * kPiRest);
  const auto cosine_factor = hn::Set(d, factor);
  const auto sine_factor = hn::Set(d, factor * sign);
  const auto vposition = hn::Set(d, position);
  for (std::int64_t i = 0; i < padded; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    const auto product = hn::Mul(vposition, hn::LoadU(d, frequencies + i));
    const auto angle = hn::PromoteTo(d, hn::DemoteTo(df, product));
    const auto turns = hn::Round(hn::Mul(angle, turns_per_radian));
    const auto reduced =
        hn::NegMulAdd(turns, rest_per_turn, hn::NegMulAdd(turns, radians_per_turn, angle));
    const auto cosine = hn::Mul(cosine_factor, hn::Cos(d, reduced));
    const auto sine = hn::Mul(sine_factor, hn::Sin(d, reduced));
    hn::StoreU(hn::DemoteTo(df, cosine), df, cosines + i);
    hn::StoreU(hn::DemoteTo(df, sine), df, sines + i);
  }
}

// Rotates the P pairs (x[i], x[i + P]) of one head and copies what is behind them; out may be x.
template <class T>
void rope_head(const T* x, const float* cosines, const float* sines, std::int64_t P,
               std::int64_t Dh, T* out) {
  for_each_vector(P, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto cosine = load_some(cosines + i, n);
    const auto sine = load_some(sines + i, n);
    const auto first = load_some(x + i, n);
    const auto second = load_some(x + i + P, n);
    store_some(hn::NegMulAdd(second, sine, hn::Mul(first, cosine)), out + i, n);
    store_some(hn::MulAdd(first, sine, hn::Mul(second, cosine)), out + i + P, n);
  });
  for (std::int64_t i = 2 * P; i < Dh; ++i) out[i] = x[i];
}

// Rotates the heads of one token of x [B,T,H,Dh], which are x.stride(2) apart, into a dense out.
template <class T>
void rope_token(const TensorView& x, const TensorView& out, std::int64_t b, std::int64_t t,
                std::int64_t P, const float* cosines, const float* sines) {
  const std::int64_t H = x.dim(2), Dh = x.dim(3);
  const T* const from = data_as<const T>(x) + b * x.stride(0) + t * x.stride(1);
  T* const to = data_as<T>(out) + (b * x.dim(1) + t) * H * Dh;
  for (std::int64_t h = 0; h < H; ++h) {
    rope_head(from + h * x.stride(2), cosines, sines, P, Dh, to + h * Dh);
  }
}

// Tokens [begin, end) of B · T: their angles are computed once and shared by all heads of x and y.
template <class T>
void rope_tokens(Stream& stream, const RopeArgs& a, const double* positions,
                 const double* frequencies, std::int64_t padded, std::int64_t begin,
                 std::int64_t end) {
  const std::int64_t P = a.inv_freq.dim(0);
  const ScratchArray<float> table(stream, 2 * padded);
  float* const cosines = table.data();
  float* const sines = cosines + padded;
  for (std::int64_t token = begin; token < end; ++token) {
    const std::int64_t b = token / a.x.dim(1), t = token % a.x.dim(1);
    rope_angles(positions[token], frequencies, static_cast<double>(a.attention_factor),
                a.inverse ? -1.0 : 1.0, padded, cosines, sines);
    rope_token<T>(a.x, a.out, b, t, P, cosines, sines);
    if (a.y) rope_token<T>(a.y, a.y_out, b, t, P, cosines, sines);
  }
}

// positions [B·T], inv_freq [P]. A task owns whole tokens; x and y are read and their results written once.
void rope_all(Stream& stream, const RopeArgs& a, const double* positions) {
  const std::int64_t P = a.inv_freq.dim(0);
  const std::int64_t padded = (P + lanes() - 1) / lanes() * lanes();
  const ScratchArray<double> frequencies(stream, padded);
  const float* const inv_freq = data_as<const float>(a.inv_freq);
  for (std::int64_t i = 0; i < padded; ++i) {
    frequencies[i] = i < P ? static_cast<double>(inv_freq[i]) : 0.0;
  }
  const std::int64_t heads = a.x.dim(2) + (a.y ? a.y.dim(2) : 0);
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    parallel_for(stream, a.x.dim(0) * a.x.dim(1), row_grain(heads * a.x.dim(3)),
                 [&](std::int64_t begin, std::int64_t end) {
                   rope_tokens<T>(stream, a, positions, frequencies.data(), padded, begin, end);
                 });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(rope_all);

namespace {

// positions [B,T] in any strides, as dense doubles.
void read_positions(const TensorView& positions, double* out) {
  switch_index(positions.dtype, [&]<class Index>(std::type_identity<Index>) {
    const Index* const values = data_as<const Index>(positions);
    for (std::int64_t b = 0; b < positions.dim(0); ++b) {
      for (std::int64_t t = 0; t < positions.dim(1); ++t) {
        *out++ = static_cast<double>(values[b * positions.stride(0) + t * positions.stride(1)]);
      }
    }
  });
}

}  // namespace

KernelStatus rope(Stream& stream, const RopeArgs& a) {
  const ScratchArray<double> positions(stream, a.x.dim(0) * a.x.dim(1));
  read_positions(a.positions, positions.data());
  HWY_DYNAMIC_DISPATCH(rope_all)(stream, a, positions.data());
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

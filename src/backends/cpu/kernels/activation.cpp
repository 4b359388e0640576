#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/activation.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/element_blocks.hpp"
#include "backends/cpu/exp-inl.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/elementwise_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

HWY_INLINE F32Vec set(float value) { return hn::Set(F32(), value); }

// v limited to [-limit, limit]; NaN stays. Not by CopySign: clang 19 permutes its operands for
// AVX-512 where a mask is applied to it (https://github.com/llvm/llvm-project/issues/157929).
HWY_INLINE F32Vec limited(F32Vec v, float limit) {
  const auto from_above = hn::IfThenElse(hn::Gt(v, set(limit)), set(limit), v);
  return hn::IfThenElse(hn::Lt(v, set(-limit)), set(-limit), from_above);
}

// e^−y for y >= 0.
HWY_INLINE F32Vec exp_of_minus(F32Vec y) { return exp_or_nan(hn::Neg(y)); }

// ---- Functions of one vector --------------------------------------------------------------------

// σ(y) into `sigmoid` and 1 − σ(y) into `rest`, each to full relative accuracy: e^−|y| never
// overflows and nothing cancels.
HWY_INLINE void sigmoid_pair(F32Vec y, F32Vec& sigmoid, F32Vec& rest) {
  const auto z = exp_of_minus(hn::Abs(y));
  const auto larger = hn::Div(set(1), hn::Add(set(1), z));
  const auto smaller = hn::Mul(z, larger);
  const auto positive = hn::Ge(y, hn::Zero(F32()));
  sigmoid = hn::IfThenElse(positive, larger, smaller);
  rest = hn::IfThenElse(positive, smaller, larger);
}

// x · gate for gate in [0, 1] that vanishes below −limit: x = −∞ gives 0.
HWY_INLINE F32Vec gated(F32Vec x, F32Vec gate, float limit) {
  const auto floor = set(-limit);
  return hn::Mul(hn::IfThenElse(hn::Lt(x, floor), floor, x), gate);
}

struct Silu {
  // e^−128 is 0 in f32, so beyond this silu is x or 0, and its derivative 1 or 0.
  static constexpr float kLimit = 128;

  static HWY_INLINE F32Vec value(F32Vec x) {
    F32Vec sigmoid = x;
    F32Vec rest = x;
    sigmoid_pair(x, sigmoid, rest);
    return gated(x, sigmoid, kLimit);
  }

  // σ (1 + x (1 − σ))
  static HWY_INLINE F32Vec derivative(F32Vec x) {
    F32Vec sigmoid = x;
    F32Vec rest = x;
    sigmoid_pair(x, sigmoid, rest);
    return slope(x, sigmoid, rest);
  }

  // Both from one exponential.
  static HWY_INLINE void value_and_derivative(F32Vec x, F32Vec& value, F32Vec& derivative) {
    F32Vec sigmoid = x;
    F32Vec rest = x;
    sigmoid_pair(x, sigmoid, rest);
    value = gated(x, sigmoid, kLimit);
    derivative = slope(x, sigmoid, rest);
  }

 private:
  static HWY_INLINE F32Vec slope(F32Vec x, F32Vec sigmoid, F32Vec rest) {
    return hn::Mul(sigmoid, hn::MulAdd(limited(x, kLimit), rest, set(1)));
  }
};

// Beyond this, the normal distribution's tail and the tanh formula's are 0 in f32.
constexpr float kGeluLimit = 15;

// Φ(x) and e^(−x²/2) for |x| <= kGeluLimit. Near 0, Φ = ½ + x P(x²); further out,
// Φ(−a) = e^(−a²/2) Q(u) with u = 1 / (1 + a/2), which keeps the tail's relative accuracy. Both
// polynomials are fits with relative errors of 1e-8 and 2e-8.
HWY_INLINE void normal_distribution(F32Vec x, F32Vec& distribution, F32Vec& bell) {
  const auto a = hn::Abs(x);
  const auto square = hn::Mul(a, a);
  const auto rounding = hn::MulSub(a, a, square);  // what a fused product shows was lost
  const auto half = set(0.5F);
  const auto rounded_bell = exp_of_minus(hn::Mul(square, half));
  bell = hn::NegMulAdd(rounded_bell, hn::Mul(rounding, half), rounded_bell);

  auto center = set(-6.82239678e-6F);
  center = hn::MulAdd(center, square, set(0.000111092028F));
  center = hn::MulAdd(center, square, set(-0.00118390762F));
  center = hn::MulAdd(center, square, set(0.00997232271F));
  center = hn::MulAdd(center, square, set(-0.0664902159F));
  center = hn::MulAdd(center, square, set(0.398942277F));

  const auto u = hn::Div(set(1), hn::MulAdd(a, half, set(1)));
  auto tail = set(-0.143158754F);
  tail = hn::MulAdd(tail, u, set(0.413585087F));
  tail = hn::MulAdd(tail, u, set(-0.382875367F));
  tail = hn::MulAdd(tail, u, set(0.0292463892F));
  tail = hn::MulAdd(tail, u, set(0.031068782F));
  tail = hn::MulAdd(tail, u, set(0.151926426F));
  tail = hn::MulAdd(tail, u, set(0.199312345F));
  tail = hn::MulAdd(tail, u, set(0.199475744F));
  const auto below = hn::Mul(hn::Mul(tail, u), bell);
  const auto far = hn::IfThenElse(hn::Lt(x, hn::Zero(F32())), below, hn::Sub(set(1), below));
  distribution = hn::IfThenElse(hn::Lt(a, set(1.25F)), hn::MulAdd(x, center, half), far);
}

struct GeluErf {
  // x Φ(x)
  static HWY_INLINE F32Vec value(F32Vec x) {
    F32Vec distribution = x;
    F32Vec bell = x;
    normal_distribution(limited(x, kGeluLimit), distribution, bell);
    return gated(x, distribution, kGeluLimit);
  }

  // Φ(x) + x φ(x)
  static HWY_INLINE F32Vec derivative(F32Vec x) {
    const auto near = limited(x, kGeluLimit);
    F32Vec distribution = x;
    F32Vec bell = x;
    normal_distribution(near, distribution, bell);
    constexpr float kInverseRootTwoPi = 0.398942280401432678F;
    return hn::MulAdd(hn::Mul(near, set(kInverseRootTwoPi)), bell, distribution);
  }
};

// ½ x (1 + tanh y) = x σ(2y) with 2y = x (c + d x²)
struct GeluTanh {
  static constexpr float kTwiceRoot = 1.59576912160573071F;  // c = 2 √(2/π)
  static constexpr float kCubic = 0.0713548162726009F;       // d = 0.044715 c

  static HWY_INLINE F32Vec argument(F32Vec x) {
    return hn::Mul(x, hn::MulAdd(hn::Mul(x, x), set(kCubic), set(kTwiceRoot)));
  }

  static HWY_INLINE F32Vec value(F32Vec x) {
    F32Vec sigmoid = x;
    F32Vec rest = x;
    sigmoid_pair(argument(limited(x, kGeluLimit)), sigmoid, rest);
    return gated(x, sigmoid, kGeluLimit);
  }

  // σ (1 + x (1 − σ) (c + 3 d x²))
  static HWY_INLINE F32Vec derivative(F32Vec x) {
    const auto near = limited(x, kGeluLimit);
    F32Vec sigmoid = x;
    F32Vec rest = x;
    sigmoid_pair(argument(near), sigmoid, rest);
    const auto slope = hn::MulAdd(hn::Mul(near, near), set(3 * kCubic), set(kTwiceRoot));
    return hn::Mul(sigmoid, hn::MulAdd(hn::Mul(near, rest), slope, set(1)));
  }
};

// ---- Rows ---------------------------------------------------------------------------------------

// out[i] = f(x[i]) for i < n.
template <class F, class T>
void value_row(const T* x, T* out, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    store_some(F::value(load_some(x + i, count)), out + i, count);
  });
}

// dx[i] = dy[i] · f'(x[i]) for i < n.
template <class F, class T>
void derivative_row(const T* dy, const T* x, T* dx, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto slope = F::derivative(load_some(x + i, count));
    store_some(hn::Mul(load_some(dy + i, count), slope), dx + i, count);
  });
}

// out[i] = silu(gate[i]) · up[i] for i < n.
template <class T>
void swiglu_row(const T* gate, const T* up, T* out, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto activated = Silu::value(load_some(gate + i, count));
    store_some(hn::Mul(activated, load_some(up + i, count)), out + i, count);
  });
}

// dgate[i] = dy[i] · up[i] · silu'(gate[i]), dup[i] = dy[i] · silu(gate[i]); each may be null.
template <class T>
void swiglu_backward_row(const T* dy, const T* gate, const T* up, T* dgate, T* dup,
                         std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto vdy = load_some(dy + i, count);
    const auto vgate = load_some(gate + i, count);
    const auto vup = load_some(up + i, count);
    F32Vec activated = vgate;
    F32Vec slope = vgate;
    Silu::value_and_derivative(vgate, activated, slope);
    if (dgate != nullptr) store_some(hn::Mul(hn::Mul(vdy, vup), slope), dgate + i, count);
    if (dup != nullptr) store_some(hn::Mul(vdy, activated), dup + i, count);
  });
}

// ---- Kernels ------------------------------------------------------------------------------------

// x and out dense, of one shape and floating dtype. A task owns blocks of elements.
template <class F>
void value_blocks(Stream& stream, const TensorView& x_view, const TensorView& out_view) {
  switch_floating(x_view.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(x_view);
    T* const out = data_as<T>(out_view);
    for_each_block(stream, x_view.numel(), [&](std::int64_t begin, std::int64_t n) {
      value_row<F>(x + begin, out + begin, n);
    });
  });
}

// dy, x and dx dense, of one shape and floating dtype. A task owns blocks of elements.
template <class F>
void derivative_blocks(Stream& stream, const TensorView& dy_view, const TensorView& x_view,
                       const TensorView& dx_view) {
  switch_floating(x_view.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(dy_view);
    const T* const x = data_as<const T>(x_view);
    T* const dx = data_as<T>(dx_view);
    for_each_block(stream, x_view.numel(), [&](std::int64_t begin, std::int64_t n) {
      derivative_row<F>(dy + begin, x + begin, dx + begin, n);
    });
  });
}

void silu_blocks(Stream& stream, const UnaryArgs& args) {
  value_blocks<Silu>(stream, args.x, args.out);
}

void silu_backward_blocks(Stream& stream, const UnaryBackwardArgs& args) {
  derivative_blocks<Silu>(stream, args.dy, args.x, args.dx);
}

void gelu_blocks(Stream& stream, const GeluArgs& args) {
  if (args.tanh_approximation) {
    value_blocks<GeluTanh>(stream, args.x, args.out);
  } else {
    value_blocks<GeluErf>(stream, args.x, args.out);
  }
}

void gelu_backward_blocks(Stream& stream, const GeluBackwardArgs& args) {
  if (args.tanh_approximation) {
    derivative_blocks<GeluTanh>(stream, args.dy, args.x, args.dx);
  } else {
    derivative_blocks<GeluErf>(stream, args.dy, args.x, args.dx);
  }
}

// gate, up [R,F] with rows stride(0) apart, out [R,F] dense. A task owns rows.
void swiglu_rows(Stream& stream, const SwigluArgs& args) {
  const std::int64_t F = args.out.dim(1);
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const gate = data_as<const T>(args.gate);
    const T* const up = data_as<const T>(args.up);
    T* const out = data_as<T>(args.out);
    parallel_for(stream, args.out.dim(0), row_grain(F), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        swiglu_row(gate + r * args.gate.stride(0), up + r * args.up.stride(0), out + r * F, F);
      }
    });
  });
}

// dy, gate, up [R,F] with rows stride(0) apart; dgate, dup [R,F] dense. A task owns rows.
void swiglu_backward_rows(Stream& stream, const SwigluBackwardArgs& args) {
  const std::int64_t R = args.dy.dim(0);
  const std::int64_t F = args.dy.dim(1);
  switch_floating(args.dy.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(args.dy);
    const T* const gate = data_as<const T>(args.gate);
    const T* const up = data_as<const T>(args.up);
    T* const dgate = args.dgate ? data_as<T>(args.dgate) : nullptr;
    T* const dup = args.dup ? data_as<T>(args.dup) : nullptr;
    parallel_for(stream, R, row_grain(F), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        swiglu_backward_row(dy + r * args.dy.stride(0), gate + r * args.gate.stride(0),
                            up + r * args.up.stride(0), dgate == nullptr ? nullptr : dgate + r * F,
                            dup == nullptr ? nullptr : dup + r * F, F);
      }
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(silu_blocks);
HWY_EXPORT(silu_backward_blocks);
HWY_EXPORT(gelu_blocks);
HWY_EXPORT(gelu_backward_blocks);
HWY_EXPORT(swiglu_rows);
HWY_EXPORT(swiglu_backward_rows);

KernelStatus silu(Stream& stream, const UnaryArgs& args) {
  HWY_DYNAMIC_DISPATCH(silu_blocks)(stream, args);
  return KernelStatus::ok();
}

KernelStatus silu_backward(Stream& stream, const UnaryBackwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(silu_backward_blocks)(stream, args);
  return KernelStatus::ok();
}

KernelStatus gelu(Stream& stream, const GeluArgs& args) {
  HWY_DYNAMIC_DISPATCH(gelu_blocks)(stream, args);
  return KernelStatus::ok();
}

KernelStatus gelu_backward(Stream& stream, const GeluBackwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(gelu_backward_blocks)(stream, args);
  return KernelStatus::ok();
}

KernelStatus swiglu(Stream& stream, const SwigluArgs& args) {
  HWY_DYNAMIC_DISPATCH(swiglu_rows)(stream, args);
  return KernelStatus::ok();
}

KernelStatus swiglu_backward(Stream& stream, const SwigluBackwardArgs& args) {
  HWY_DYNAMIC_DISPATCH(swiglu_backward_rows)(stream, args);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

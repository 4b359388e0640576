#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/arithmetic.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/element_blocks.hpp"
#include "backends/cpu/loop_nest.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/layout.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/elementwise_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

struct Add {
  static HWY_INLINE F32Vec floats(F32Vec a, F32Vec b) { return hn::Add(a, b); }
  template <class U>
  static U unsigneds(U a, U b) {
    return a + b;
  }
};

struct Sub {
  static HWY_INLINE F32Vec floats(F32Vec a, F32Vec b) { return hn::Sub(a, b); }
  template <class U>
  static U unsigneds(U a, U b) {
    return a - b;
  }
};

struct Mul {
  static HWY_INLINE F32Vec floats(F32Vec a, F32Vec b) { return hn::Mul(a, b); }
  template <class U>
  static U unsigneds(U a, U b) {
    return a * b;
  }
};

// Elements of an operand along one run: neighbours, or one that is repeated when the stride is 0.
template <class T>
struct Run {
  const T* data;
  std::int64_t stride;
};

template <bool kSplat, class T>
HWY_INLINE F32Vec load_operand(const T* p, F32Vec splat, std::int64_t i, std::int64_t count) {
  if constexpr (kSplat) {
    return splat;
  } else {
    return load_some(p + i, count);
  }
}

// out[i] = a[i] ∘ b[i] for i < n; a splat operand is its first element throughout. Needs n >= 1.
template <class Op, bool kSplatA, bool kSplatB, class T>
void combine_vectors(const T* a, const T* b, T* out, std::int64_t n) {
  const auto splat_a = hn::Set(F32(), static_cast<float>(a[0]));
  const auto splat_b = hn::Set(F32(), static_cast<float>(b[0]));
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto va = load_operand<kSplatA>(a, splat_a, i, count);
    const auto vb = load_operand<kSplatB>(b, splat_b, i, count);
    store_some(Op::floats(va, vb), out + i, count);
  });
}

// out[0, n) = a ∘ b for floating T; out is dense.
template <class Op, class T>
void combine_floats(Run<T> a, Run<T> b, T* out, std::int64_t n) {
  if (a.stride == 0) {
    combine_vectors<Op, true, false>(a.data, b.data, out, n);
  } else if (b.stride == 0) {
    combine_vectors<Op, false, true>(a.data, b.data, out, n);
  } else {
    combine_vectors<Op, false, false>(a.data, b.data, out, n);
  }
}

// As above for i32 and i64: overflow wraps around, which signed arithmetic may not.
template <class Op, class T>
void combine_integers(Run<T> a, Run<T> b, T* out, std::int64_t n) {
  using U = std::make_unsigned_t<T>;
  for (std::int64_t i = 0; i < n; ++i) {
    const U x = static_cast<U>(a.data[i * a.stride]);
    const U y = static_cast<U>(b.data[i * b.stride]);
    out[i] = static_cast<T>(Op::unsigneds(x, y));
  }
}

// a and b of out's shape and dtype T, whose innermost strides are 1 or, for one of them, 0; out
// dense. A task owns blocks of out.
template <class Op, class T>
void combine(Stream& stream, const BinaryArgs& args, const LoopNest<2>& nest) {
  const T* const a = data_as<const T>(args.a);
  const T* const b = data_as<const T>(args.b);
  T* const out = data_as<T>(args.out);
  const auto steps = nest.inner().strides;
  for_each_block(stream, nest.numel(), [&](std::int64_t begin, std::int64_t count) {
    const auto run = [&](std::int64_t position, std::int64_t n, const Offsets<2>& start) {
      const Run<T> run_a{a + start[0], steps[0]};
      const Run<T> run_b{b + start[1], steps[1]};
      if constexpr (std::is_integral_v<T>) {
        combine_integers<Op>(run_a, run_b, out + position, n);
      } else {
        combine_floats<Op>(run_a, run_b, out + position, n);
      }
    };
    for_each_run(nest, begin, begin + count, run);
  });
}

template <class Op>
void combine_any(Stream& stream, const BinaryArgs& args, const LoopNest<2>& nest) {
  if (is_floating(args.out.dtype)) {
    switch_floating(args.out.dtype,
                    [&]<class T>(std::type_identity<T>) { combine<Op, T>(stream, args, nest); });
  } else {
    switch_index(args.out.dtype,
                 [&]<class T>(std::type_identity<T>) { combine<Op, T>(stream, args, nest); });
  }
}

void add_elements(Stream& stream, const BinaryArgs& args, const LoopNest<2>& nest) {
  combine_any<Add>(stream, args, nest);
}

void sub_elements(Stream& stream, const BinaryArgs& args, const LoopNest<2>& nest) {
  combine_any<Sub>(stream, args, nest);
}

void mul_elements(Stream& stream, const BinaryArgs& args, const LoopNest<2>& nest) {
  combine_any<Mul>(stream, args, nest);
}

// out[i] = x[i] · factor for i < n.
template <class T>
void scale_block(const T* x, float factor, T* out, std::int64_t n) {
  const auto vfactor = hn::Set(F32(), factor);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    store_some(hn::Mul(load_some(x + i, count), vfactor), out + i, count);
  });
}

// x and out dense, of one shape and floating dtype. A task owns blocks of out.
void scale_elements(Stream& stream, const ScaleArgs& args) {
  float factor = static_cast<float>(args.factor);
  if (args.factor_tensor) factor *= *data_as<const float>(args.factor_tensor);
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(args.x);
    T* const out = data_as<T>(args.out);
    for_each_block(stream, args.x.numel(), [&](std::int64_t begin, std::int64_t n) {
      scale_block(x + begin, factor, out + begin, n);
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(add_elements);
HWY_EXPORT(sub_elements);
HWY_EXPORT(mul_elements);
HWY_EXPORT(scale_elements);

namespace {

// out is dense, so its position is the number of the element and only a and b need strides.
LoopNest<2> operand_loops(const BinaryArgs& args) {
  LoopNest<2> nest;
  for (int axis = 0; axis < args.out.rank(); ++axis) {
    nest.add_inner({args.out.dim(axis), {args.a.stride(axis), args.b.stride(axis)}});
  }
  return nest;
}

// An operand as a dense copy in temporary memory. Worth it even for one use: copy() reads a
// transposed operand by tiles, where a walk in the order of out would waste most of each cache
// line.
class DenseCopy {
 public:
  DenseCopy(Stream& stream, const TensorView& view, bool needed)
      : memory_(stream, needed ? static_cast<std::size_t>(view.numel()) * size_of(view.dtype) : 0),
        view_(view) {
    if (!needed) return;
    view_.data = memory_.data();
    view_.strides = contiguous_layout(view.shape).strides;
    copy(stream, {.src = view, .dst = view_});
  }

  // The copy, or what was given where none was needed.
  const TensorView& view() const { return view_; }

 private:
  Scratch memory_;
  TensorView view_;
};

using Combine = void (*)(Stream&, const BinaryArgs&, const LoopNest<2>&);

KernelStatus run(Stream& stream, const BinaryArgs& args, Combine combine_elements) {
  const auto steps = operand_loops(args).inner().strides;
  const bool copies_b = steps[1] != 0 && steps[1] != 1;
  const bool copies_a = (steps[0] != 0 && steps[0] != 1) || (steps[0] == 0 && steps[1] == 0);
  const DenseCopy a(stream, args.a, copies_a);
  const DenseCopy b(stream, args.b, copies_b);
  const BinaryArgs readable{.a = a.view(), .b = b.view(), .out = args.out};
  combine_elements(stream, readable, operand_loops(readable));
  return KernelStatus::ok();
}

}  // namespace

KernelStatus add(Stream& stream, const BinaryArgs& args) {
  return run(stream, args, &HWY_DYNAMIC_DISPATCH(add_elements));
}

KernelStatus sub(Stream& stream, const BinaryArgs& args) {
  return run(stream, args, &HWY_DYNAMIC_DISPATCH(sub_elements));
}

KernelStatus mul(Stream& stream, const BinaryArgs& args) {
  return run(stream, args, &HWY_DYNAMIC_DISPATCH(mul_elements));
}

KernelStatus scale(Stream& stream, const ScaleArgs& args) {
  HWY_DYNAMIC_DISPATCH(scale_elements)(stream, args);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

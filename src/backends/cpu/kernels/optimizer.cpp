#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/optimizer.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/element_blocks.hpp"
#include "backends/cpu/f64_lanes-inl.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/optimizer_args.hpp"

#ifndef WICK_BACKENDS_CPU_KERNELS_OPTIMIZER_STEP
#define WICK_BACKENDS_CPU_KERNELS_OPTIMIZER_STEP
namespace wick::cpu {

// The numbers of one AdamW step, rounded once to f32 after they were computed in double.
struct AdamwStep {
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float corrected_lr;          // lr / (1 − β₁ᵗ)
  float inverse_correction_2;  // 1 / (1 − β₂ᵗ)
  float eps;
  float decay;  // lr · weight_decay
};

namespace {

inline std::int64_t numel_of(const TensorView& tensor) { return tensor.numel(); }
inline std::int64_t numel_of(const AdamwTensor& tensor) { return tensor.param.numel(); }

template <class Tensor>
std::int64_t blocks_of(std::span<const Tensor> tensors) {
  std::int64_t blocks = 0;
  for (const Tensor& tensor : tensors) blocks += cpu::blocks_of(numel_of(tensor));
  return blocks;
}

// Calls body(tensor, begin, n, block) for blocks of every tensor, in parallel over all of them at
// once: the tensors of a LoRA adapter are many and small. `block` counts the blocks of all tensors.
template <class Tensor, class Body>
void for_each_block_of_tensors(Stream& stream, std::span<const Tensor> tensors, const Body& body) {
  const ScratchArray<std::int64_t> first_block(stream, static_cast<std::int64_t>(tensors.size()));
  std::int64_t* const starts = first_block.data();
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    starts[i] = blocks;
    blocks += cpu::blocks_of(numel_of(tensors[i]));
  }
  const std::int64_t grain = row_grain(kBlockElements);
  parallel_for(stream, blocks, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      // The last tensor that starts at this block or before it; empty ones start there too, but
      // earlier.
      const std::int64_t* const after = std::upper_bound(starts, starts + tensors.size(), block);
      const Tensor& tensor = tensors[static_cast<std::size_t>(after - starts - 1)];
      const std::int64_t begin = (block - after[-1]) * kBlockElements;
      body(tensor, begin, std::min(kBlockElements, numel_of(tensor) - begin), block);
    }
  });
}

}  // namespace
}  // namespace wick::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// One step on n elements: param [n], grad [n] of any floating type, m and v [n].
template <class P, class G>
void adamw_row(const AdamwStep& step, P* param, const G* grad, float* m, float* v, std::int64_t n) {
  const F32 d;
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto g = load_some(grad + i, count);
    const auto p = load_some(param + i, count);
    const auto new_m = hn::MulAdd(load_some(m + i, count), hn::Set(d, step.beta1),
                                  hn::Mul(g, hn::Set(d, step.one_minus_beta1)));
    const auto new_v = hn::MulAdd(load_some(v + i, count), hn::Set(d, step.beta2),
                                  hn::Mul(hn::Mul(g, g), hn::Set(d, step.one_minus_beta2)));
    const auto root = hn::Sqrt(hn::Mul(new_v, hn::Set(d, step.inverse_correction_2)));
    const auto ratio = hn::Div(new_m, hn::Add(root, hn::Set(d, step.eps)));
    const auto change =
        hn::MulAdd(ratio, hn::Set(d, step.corrected_lr), hn::Mul(p, hn::Set(d, step.decay)));
    store_some(new_m, m + i, count);
    store_some(new_v, v + i, count);
    store_some(hn::Sub(p, change), param + i, count);
  });
}

void adamw_block(const AdamwStep& step, const AdamwTensor& tensor, std::int64_t begin,
                 std::int64_t n) {
  float* const m = data_as<float>(tensor.m) + begin;
  float* const v = data_as<float>(tensor.v) + begin;
  switch_floating(tensor.param.dtype, [&]<class P>(std::type_identity<P>) {
    switch_floating(tensor.grad.dtype, [&]<class G>(std::type_identity<G>) {
      adamw_row(step, data_as<P>(tensor.param) + begin, data_as<const G>(tensor.grad) + begin, m, v,
                n);
    });
  });
}

// Every tensor dense. A task owns blocks of elements.
void adamw_blocks(Stream& stream, std::span<const AdamwTensor> tensors, const AdamwStep& step) {
  const auto update = [&](const AdamwTensor& tensor, std::int64_t begin, std::int64_t n,
                          std::int64_t) { adamw_block(step, tensor, begin, n); };
  for_each_block_of_tensors(stream, tensors, update);
}

// Σ x² over all elements of all tensors: each block in double, then the blocks in their order.
double sum_of_squares_of(Stream& stream, std::span<const TensorView> tensors) {
  const std::int64_t blocks = blocks_of(tensors);
  const ScratchArray<double> sums(stream, blocks);
  const auto add_up = [&](const TensorView& tensor, std::int64_t begin, std::int64_t n,
                          std::int64_t block) {
    switch_floating(tensor.dtype, [&]<class T>(std::type_identity<T>) {
      sums[block] = sum_of_squares(data_as<const T>(tensor) + begin, n);
    });
  };
  for_each_block_of_tensors(stream, tensors, add_up);
  double total = 0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  return total;
}

// x[i] ·= factor for i < n.
template <class T>
void multiply_row(T* x, float factor, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    store_some(hn::Mul(load_some(x + i, count), hn::Set(F32(), factor)), x + i, count);
  });
}

// Every tensor dense. A task owns blocks of elements.
void multiply_blocks(Stream& stream, std::span<const TensorView> tensors, float factor) {
  const auto multiply = [&](const TensorView& tensor, std::int64_t begin, std::int64_t n,
                            std::int64_t) {
    switch_floating(tensor.dtype, [&]<class T>(std::type_identity<T>) {
      multiply_row(data_as<T>(tensor) + begin, factor, n);
    });
  };
  for_each_block_of_tensors(stream, tensors, multiply);
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(adamw_blocks);
HWY_EXPORT(sum_of_squares_of);
HWY_EXPORT(multiply_blocks);

namespace {

AdamwStep step_of(const AdamwArgs& args) {
  const double lr = args.lr_tensor ? double{*data_as<const float>(args.lr_tensor)} : args.lr;
  const std::int64_t t =
      args.step_tensor ? *data_as<const std::int64_t>(args.step_tensor) : args.step;
  const double correction_1 = 1.0 - std::pow(args.beta1, static_cast<double>(t));
  const double correction_2 = 1.0 - std::pow(args.beta2, static_cast<double>(t));
  return {.beta1 = static_cast<float>(args.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - args.beta1),
          .beta2 = static_cast<float>(args.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - args.beta2),
          .corrected_lr = static_cast<float>(lr / correction_1),
          .inverse_correction_2 = static_cast<float>(1.0 / correction_2),
          .eps = static_cast<float>(args.eps),
          .decay = static_cast<float>(lr * args.weight_decay)};
}

}  // namespace

KernelStatus adamw(Stream& stream, const AdamwArgs& args) {
  HWY_DYNAMIC_DISPATCH(adamw_blocks)(stream, args.tensors, step_of(args));
  return KernelStatus::ok();
}

KernelStatus global_norm(Stream& stream, const GlobalNormArgs& args) {
  const double squares = HWY_DYNAMIC_DISPATCH(sum_of_squares_of)(stream, args.tensors);
  *data_as<float>(args.out) = static_cast<float>(std::sqrt(squares));
  return KernelStatus::ok();
}

KernelStatus clip_by_norm(Stream& stream, const ClipByNormArgs& args) {
  const double norm = *data_as<const float>(args.norm);
  const double factor = args.max_norm / (norm + 1e-6);
  if (factor >= 1) return KernelStatus::ok();  // not so for NaN, which must reach the caller
  HWY_DYNAMIC_DISPATCH(multiply_blocks)(stream, args.tensors, static_cast<float>(factor));
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE

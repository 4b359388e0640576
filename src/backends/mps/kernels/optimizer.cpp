#include <cmath>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/optimizer_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/optimizer_args.hpp"

namespace wick::mps {

static_assert(sizeof(AdamwKargs) == 64);
static_assert(sizeof(SquaresKargs) == 16);
static_assert(sizeof(NormOfKargs) == 8);
static_assert(sizeof(ClipKargs) == 16);

namespace {

constexpr std::size_t kSquaresBytes = 16;  // a float3
constexpr std::int64_t kElementsEach = 16384;
constexpr std::uint64_t kThreads = 256;

// Powers and differences in double, rounded once.
AdamwKargs numbers_of(const AdamwArgs& args) {
  const auto t = static_cast<double>(args.step);
  const double correction_1 = 1.0 - std::pow(args.beta1, t);
  const double correction_2 = 1.0 - std::pow(args.beta2, t);
  return {.numel = 0,
          .beta1 = static_cast<float>(args.beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - args.beta1),
          .log_beta1 = static_cast<float>(std::log(args.beta1)),
          .beta2 = static_cast<float>(args.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - args.beta2),
          .log_beta2 = static_cast<float>(std::log(args.beta2)),
          .corrected_lr = static_cast<float>(args.lr / correction_1),
          .inverse_correction_2 = static_cast<float>(1.0 / correction_2),
          .lr = static_cast<float>(args.lr),
          .step = static_cast<float>(args.step),
          .eps = static_cast<float>(args.eps),
          .weight_decay = static_cast<float>(args.weight_decay),
          .has_lr = args.lr_tensor ? 1 : 0,
          .has_step = args.step_tensor ? 1 : 0};
}

}  // namespace

KernelStatus adamw(Stream& stream, const AdamwArgs& args) {
  AdamwKargs kargs = numbers_of(args);
  for (const AdamwTensor& tensor : args.tensors) {
    kargs.numel = tensor.param.numel();
    if (kargs.numel == 0) continue;
    Dispatch(stream, {"optimizer", "adamw", {dtype_of(tensor.param), dtype_of(tensor.grad)}})
        .buffer(tensor.param)
        .buffer(tensor.grad)
        .buffer(tensor.m)
        .buffer(tensor.v)
        .buffer(args.lr_tensor)
        .buffer(args.step_tensor)
        .value(kargs)
        .items(kargs.numel);
  }
  return KernelStatus::ok();
}

KernelStatus global_norm(Stream& stream, const GlobalNormArgs& args) {
  std::int64_t count = 0;
  for (const TensorView& tensor : args.tensors) count += ceil_div(tensor.numel(), kElementsEach);
  const Scratch sums(stream, static_cast<std::size_t>(count) * kSquaresBytes);
  std::byte* next = static_cast<std::byte*>(sums.data());
  for (const TensorView& tensor : args.tensors) {
    const std::int64_t groups = ceil_div(tensor.numel(), kElementsEach);
    if (groups == 0) continue;
    Dispatch(stream, {"optimizer", "squares", {dtype_of(tensor), dtype_of(tensor)}})
        .buffer(tensor)
        .memory(next)
        .value(SquaresKargs{tensor.numel(), kElementsEach})
        .groups({static_cast<std::uint64_t>(groups)}, {kThreads});
    next += static_cast<std::size_t>(groups) * kSquaresBytes;
  }
  const std::uint32_t f32 = dtype_of(args.out);
  Dispatch(stream, {"optimizer", "norm_of_squares", {f32, f32}})
      .memory(count > 0 ? sums.data() : nullptr)
      .buffer(args.out)
      .value(NormOfKargs{count})
      .groups({1}, {kThreads});
  return KernelStatus::ok();
}

KernelStatus clip_by_norm(Stream& stream, const ClipByNormArgs& args) {
  for (const TensorView& tensor : args.tensors) {
    if (tensor.numel() == 0) continue;
    Dispatch(stream, {"optimizer", "clip_by_norm", {dtype_of(tensor), dtype_of(tensor)}})
        .buffer(tensor)
        .buffer(args.norm)
        .value(ClipKargs{tensor.numel(), static_cast<float>(args.max_norm), 0})
        .items(tensor.numel());
  }
  return KernelStatus::ok();
}

}  // namespace wick::mps

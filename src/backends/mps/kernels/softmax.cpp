#include "backends/mps/kernels/softmax.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "backends/mps/kernels/softmax_kargs.hpp"
#include "backends/mps/mps_calls.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/row_plan.hpp"
#include "backends/mps/ways.hpp"

namespace wick::mps {

static_assert(sizeof(SoftmaxKargs) == 32 && sizeof(DeadRowsKargs) == 40);

namespace {

using Kind = apple::mps::MatrixSoftMax::Kind;

// A call, and whether it is of the logarithm.
struct Forward {
  const SoftmaxArgs& args;
  bool logarithm;
};
struct Backward {
  const SoftmaxBackwardArgs& args;
  bool logarithm;
};

KernelId kernel_of(std::string_view function, const RowPlan& plan, bool logarithm,
                   const TensorView& x) {
  return {"softmax", function, {held_elements(plan), logarithm ? 1U : 0U, dtype_of(x)}};
}

Kind kind_of(bool logarithm) { return logarithm ? Kind::kLogSoftMax : Kind::kSoftMax; }

// ---- our kernels

KernelStatus forward_by_rows(Stream& stream, const Forward& f) {
  const SoftmaxArgs& args = f.args;
  const RowPlan plan = plan_rows(args.x.dim(0), args.x.dim(1));
  Dispatch dispatch(stream, kernel_of("softmax", plan, f.logarithm, args.x));
  dispatch.buffer(args.x).buffer(args.out).value(SoftmaxKargs{plan, args.x.stride(0)});
  run_rows(dispatch, plan);
  return KernelStatus::ok();
}

KernelStatus backward_by_rows(Stream& stream, const Backward& b) {
  const SoftmaxBackwardArgs& args = b.args;
  const RowPlan plan = plan_rows(args.y.dim(0), args.y.dim(1));
  Dispatch dispatch(stream, kernel_of("softmax_backward", plan, b.logarithm, args.y));
  dispatch.buffer(args.dy).buffer(args.y).buffer(args.dx).value(plan);
  run_rows(dispatch, plan);
  return KernelStatus::ok();
}

// out = value in the rows of x that are −∞ throughout.
void set_dead_rows(Stream& stream, const TensorView& x, const TensorView& out, float value) {
  RowPlan plan = plan_rows(x.dim(0), x.dim(1));
  plan.simds = 1;
  Dispatch dispatch(stream, {"softmax", "softmax_dead_rows", {0, 0, dtype_of(x)}});
  dispatch.buffer(x).buffer(out).value(DeadRowsKargs{plan, x.stride(0), value, 0});
  run_rows(dispatch, plan);
}

// ---- Metal Performance Shaders

// A kernel with its operands, which are alike but for the distance between rows.
template <class Kernel>
struct RowsEntry {
  Kernel kernel;
  apple::mps::MatrixDescriptor first, others;
};

std::string refusal(const TensorView& x) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (!is_known_to_mps(x.dtype)) return "MPS takes f32 and f16 only";
  if (x.stride(0) < x.dim(1) && x.dim(0) > 1) return "rows that overlap";
  return std::max(x.dim(0), x.dim(1)) <= kMost ? "" : "2^31 rows or columns";
}

// Calls use(entry) for matrices of the shape of `first`.
template <class Kernel, class Use>
void with_rows_kernel(MpsBackend& backend, const TensorView& first, bool logarithm,
                      const Use& use) {
  const std::int64_t R = first.dim(0), D = first.dim(1), step = R == 1 ? D : first.stride(0);
  const KernelCache::Key key{R, D, step, static_cast<std::int64_t>(first.dtype), logarithm ? 1 : 0};
  const auto make = [&](const apple::metal::Device& device) {
    return RowsEntry<Kernel>{Kernel(device, kind_of(logarithm)),
                             describe_matrix(first.dtype, R, D, step),
                             describe_matrix(first.dtype, R, D, D)};
  };
  with_mps_kernel<RowsEntry<Kernel>>(backend, key, make, use);
}

apple::mps::Matrix matrix_at(MpsBackend& backend, const TensorView& x,
                             const apple::mps::MatrixDescriptor& descriptor) {
  return operand_at<apple::mps::Matrix>(backend, x.data, descriptor);
}

KernelStatus forward_by_mps(Stream& stream, const Forward& f) {
  const auto& [x, out] = f.args;
  if (std::string reason = refusal(x); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  MpsStream& own = mps_stream(stream);
  MpsBackend& backend = own.backend();
  with_rows_kernel<apple::mps::MatrixSoftMax>(backend, x, f.logarithm, [&](const auto& entry) {
    const auto input = matrix_at(backend, x, entry.first);
    const auto result = matrix_at(backend, out, entry.others);
    MpsStream::Encoding encoding(own, 0);
    entry.kernel.encode(encoding.commands(), input, result);
  });
  set_dead_rows(stream, x, out, f.logarithm ? -std::numeric_limits<float>::infinity() : 0);
  return KernelStatus::ok();
}

KernelStatus backward_by_mps(Stream& stream, const Backward& b) {
  const auto& [dy, y, dx] = b.args;
  if (std::string reason = refusal(y); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  MpsStream& own = mps_stream(stream);
  MpsBackend& backend = own.backend();
  with_rows_kernel<apple::mps::MatrixSoftMaxGradient>(
      backend, y, b.logarithm, [&](const auto& entry) {
        const auto gradient = matrix_at(backend, dy, entry.others);
        const auto output = matrix_at(backend, y, entry.others);
        const auto result = matrix_at(backend, dx, entry.others);
        MpsStream::Encoding encoding(own, 0);
        entry.kernel.encode(encoding.commands(), gradient, output, result);
      });
  if (b.logarithm) set_dead_rows(stream, y, dx, 0);  // else y is 0 there, and so is dx
  return KernelStatus::ok();
}

// ---- choice

constexpr Variant<Forward> kForward[] = {{"rows", forward_by_rows}, {"mps", forward_by_mps}};
constexpr Variant<Backward> kBackward[] = {{"rows", backward_by_rows}, {"mps", backward_by_mps}};

CallShape shape_of(ChoiceKernel kernel, const TensorView& x) {
  return {.kernel = kernel, .M = x.dim(0), .N = x.dim(1), .a = x.dtype, .b = x.dtype, .c = x.dtype};
}

}  // namespace

KernelStatus softmax_by(std::string_view way, ChoiceKernel kernel, Stream& stream,
                        const SoftmaxArgs& args) {
  if (args.x.numel() == 0) return KernelStatus::ok();
  return run_ways<Forward>(stream, shape_of(kernel, args.x), kForward,
                           {args, kernel == ChoiceKernel::kLogSoftmax}, way);
}

KernelStatus softmax_backward_by(std::string_view way, ChoiceKernel kernel, Stream& stream,
                                 const SoftmaxBackwardArgs& args) {
  if (args.y.numel() == 0) return KernelStatus::ok();
  return run_ways<Backward>(stream, shape_of(kernel, args.y), kBackward,
                            {args, kernel == ChoiceKernel::kLogSoftmaxBackward}, way);
}

KernelStatus softmax(Stream& stream, const SoftmaxArgs& args) {
  return softmax_by({}, ChoiceKernel::kSoftmax, stream, args);
}

KernelStatus log_softmax(Stream& stream, const SoftmaxArgs& args) {
  return softmax_by({}, ChoiceKernel::kLogSoftmax, stream, args);
}

KernelStatus softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return softmax_backward_by({}, ChoiceKernel::kSoftmaxBackward, stream, args);
}

KernelStatus log_softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return softmax_backward_by({}, ChoiceKernel::kLogSoftmaxBackward, stream, args);
}

}  // namespace wick::mps

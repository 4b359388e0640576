#include <algorithm>

#include "backends/mps/kernels/norm_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/row_plan.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/norm_args.hpp"

namespace wick::mps {

static_assert(sizeof(NormKargs) == 40);
static_assert(sizeof(NormSumsKargs) == 32);
static_assert(sizeof(AddSumsKargs) == 16);

namespace {

// The operands of LayerNormArgs; rms_norm has neither bias nor mean.
struct NormForward {
  NormKind kind;
  TensorView x, weight, bias, out, mean, inverse;
  float eps;
};

// The operands of LayerNormBackwardArgs.
struct NormBackward {
  NormKind kind;
  TensorView dy, x, weight, mean, inverse, dx, dweight, dbias;
};

std::uint32_t bit(const TensorView& view, NormGiven given) { return view ? given : 0u; }

// `held` of rows that a kernel keeps, 0 for others.
KernelId kernel_of(std::string_view function, NormKind kind, const TensorView& x,
                   const TensorView& weight, const TensorView& bias, std::uint32_t given,
                   std::uint32_t held = 0) {
  return {"norm", function, {held, kind, dtype_of(x), dtype_of(weight), dtype_of(bias), given}};
}

// The gradient of a weight: a sum over rows, by chunks of them.
struct ColumnSums {
  ColumnSums(Stream& stream, const TensorView& of, std::int64_t chunks)
      : out(of), room(stream, of ? static_cast<std::size_t>(chunks * of.numel()) * 4 : 0) {}
  const TensorView& out;
  Scratch room;

  void add_up(Stream& stream, const NormBackward& a, std::int64_t chunks) const {
    if (!out) return;
    Dispatch(stream, kernel_of("norm_add_sums", a.kind, a.x, out, out, 0))
        .memory(chunks > 0 ? room.data() : nullptr)
        .buffer(out)
        .value(AddSumsKargs{chunks, out.numel()})
        .elements(1, out.numel());
  }
};

void weight_gradients(Stream& stream, const NormBackward& a) {
  constexpr std::int64_t kRowsEach = 64;
  constexpr std::int64_t kMostChunks = 256;
  const std::int64_t R = a.x.dim(0);
  const std::int64_t D = a.x.dim(1);
  const std::int64_t rows_each = std::max(kRowsEach, ceil_div(R, kMostChunks));
  const std::int64_t chunks = ceil_div(R, rows_each);
  const ColumnSums weight_sums(stream, a.dweight, chunks);
  const ColumnSums bias_sums(stream, a.dbias, chunks);
  if (chunks > 0) {
    const std::uint32_t given = bit(a.dweight, kGivenWeight) | bit(a.dbias, kGivenBias);
    Dispatch(stream, kernel_of("norm_sums", a.kind, a.x, a.dweight, a.dbias, given))
        .buffer(a.dy)
        .buffer(a.x)
        .buffer(a.mean)
        .buffer(a.inverse)
        .memory(a.dweight ? weight_sums.room.data() : nullptr)
        .memory(a.dbias ? bias_sums.room.data() : nullptr)
        .value(NormSumsKargs{R, D, a.x.stride(0), rows_each})
        .elements(chunks, D);
  }
  weight_sums.add_up(stream, a, chunks);
  bias_sums.add_up(stream, a, chunks);
}

void norm_forward(Stream& stream, const NormForward& a) {
  if (a.x.numel() == 0) return;
  const RowPlan plan = plan_rows(a.x.dim(0), a.x.dim(1));
  const std::uint32_t given =
      bit(a.bias, kGivenBias) | bit(a.mean, kGivenMean) | bit(a.inverse, kGivenInverse);
  Dispatch dispatch(stream,
                    kernel_of("norm", a.kind, a.x, a.weight, a.bias, given, held_elements(plan)));
  dispatch.buffer(a.x)
      .buffer(a.weight)
      .buffer(a.bias)
      .buffer(a.out)
      .buffer(a.mean)
      .buffer(a.inverse)
      .value(NormKargs{plan, a.x.stride(0), a.eps, 0});
  run_rows(dispatch, plan);
}

void norm_backward(Stream& stream, const NormBackward& a) {
  if (a.x.dim(1) == 0) return;
  if (a.dx && a.x.dim(0) > 0) {
    const RowPlan plan = plan_rows(a.x.dim(0), a.x.dim(1));
    Dispatch dispatch(stream, kernel_of("norm_backward", a.kind, a.x, a.weight, a.weight, 0,
                                        held_elements(plan)));
    dispatch.buffer(a.dy)
        .buffer(a.x)
        .buffer(a.weight)
        .buffer(a.mean)
        .buffer(a.inverse)
        .buffer(a.dx)
        .value(NormKargs{plan, a.x.stride(0), 0, 0});
    run_rows(dispatch, plan);
  }
  if (a.dweight || a.dbias) weight_gradients(stream, a);
}

}  // namespace

KernelStatus rms_norm(Stream& stream, const RmsNormArgs& args) {
  if (args.addend) {
    const KernelStatus status = add(stream, {.a = args.x, .b = args.addend, .out = args.sum});
    if (!status.is_ok()) return status;
  }
  norm_forward(stream, {.kind = kRmsNorm,
                        .x = args.addend ? args.sum : args.x,
                        .weight = args.weight,
                        .bias = {},
                        .out = args.out,
                        .mean = {},
                        .inverse = args.inv_rms,
                        .eps = args.eps});
  return KernelStatus::ok();
}

KernelStatus rms_norm_backward(Stream& stream, const RmsNormBackwardArgs& args) {
  norm_backward(stream, {.kind = kRmsNorm,
                         .dy = args.dy,
                         .x = args.x,
                         .weight = args.weight,
                         .mean = {},
                         .inverse = args.inv_rms,
                         .dx = args.dx,
                         .dweight = args.dweight,
                         .dbias = {}});
  if (!args.dsum || !args.dx) return KernelStatus::ok();
  return add(stream, {.a = args.dx, .b = args.dsum, .out = args.dx});
}

KernelStatus layer_norm(Stream& stream, const LayerNormArgs& args) {
  norm_forward(stream, {.kind = kLayerNorm,
                        .x = args.x,
                        .weight = args.weight,
                        .bias = args.bias,
                        .out = args.out,
                        .mean = args.mean,
                        .inverse = args.inv_std,
                        .eps = args.eps});
  return KernelStatus::ok();
}

KernelStatus layer_norm_backward(Stream& stream, const LayerNormBackwardArgs& args) {
  norm_backward(stream, {.kind = kLayerNorm,
                         .dy = args.dy,
                         .x = args.x,
                         .weight = args.weight,
                         .mean = args.mean,
                         .inverse = args.inv_std,
                         .dx = args.dx,
                         .dweight = args.dweight,
                         .dbias = args.dbias});
  return KernelStatus::ok();
}

}  // namespace wick::mps

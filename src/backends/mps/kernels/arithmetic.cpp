#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/arithmetic_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/strided.hpp"
#include "runtime/args/elementwise_args.hpp"

namespace wick::mps {

static_assert(sizeof(ScaleKargs) == 16);

namespace {

KernelStatus binary(Stream& stream, BinaryOp op, const BinaryArgs& args) {
  const DType dtype = args.out.dtype;
  if (dtype == DType::kU8 || dtype == DType::kBool) {
    return KernelStatus::unsupported("arithmetic on u8 and bool is not defined");
  }
  const Loops<3> loops = loops_over_all(args.a, args.b, args.out);
  if (loops.numel == 0) return KernelStatus::ok();
  Dispatch(stream, {"arithmetic", "binary", {op, dtype_of(args.out)}})
      .buffer(args.a)
      .buffer(args.b)
      .buffer(args.out)
      .value(loops)
      .items(loops.numel);
  return KernelStatus::ok();
}

}  // namespace

KernelStatus add(Stream& stream, const BinaryArgs& args) {
  return binary(stream, kBinaryAdd, args);
}
KernelStatus sub(Stream& stream, const BinaryArgs& args) {
  return binary(stream, kBinarySub, args);
}
KernelStatus mul(Stream& stream, const BinaryArgs& args) {
  return binary(stream, kBinaryMul, args);
}

KernelStatus scale(Stream& stream, const ScaleArgs& args) {
  if (args.x.numel() == 0) return KernelStatus::ok();
  Dispatch(stream, {"arithmetic", "scale", {kBinaryMul, dtype_of(args.x)}})
      .buffer(args.x)
      .buffer(args.out)
      .buffer(args.factor_tensor)
      .value(
          ScaleKargs{args.x.numel(), static_cast<float>(args.factor), args.factor_tensor ? 1 : 0})
      .items(args.x.numel());
  return KernelStatus::ok();
}

}  // namespace wick::mps

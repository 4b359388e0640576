#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/select_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/reduce_args.hpp"

namespace wick::mps {

static_assert(sizeof(SelectKargs) == 40 && sizeof(ScatterKargs) == 16);

namespace {

constexpr std::uint64_t kSearchThreads = 64;  // as in the kernel
constexpr std::uint64_t kScatterThreads = 128;

KernelStatus select(Stream& stream, const TensorView& x, const TensorView& indices,
                    const TensorView& values, std::int64_t K) {
  if (x.dtype == DType::kU8 || x.dtype == DType::kBool) {
    return KernelStatus::unsupported("u8 and bool have no order");
  }
  if (x.dim(0) == 0) return KernelStatus::ok();
  Dispatch(stream, {"select", "select_largest", {dtype_of(x)}})
      .buffer(x)
      .buffer(indices)
      .buffer(values)
      .value(SelectKargs{x.dim(1), K, x.stride(0), x.stride(1), values ? 1 : 0, 0})
      .groups({static_cast<std::uint64_t>(x.dim(0))}, {kSearchThreads});
  return KernelStatus::ok();
}

}  // namespace

KernelStatus argmax(Stream& stream, const ArgmaxArgs& args) {
  return select(stream, args.x, args.indices, args.values, 1);
}

KernelStatus top_k(Stream& stream, const TopKArgs& args) {
  return select(stream, args.x, args.indices, args.values, args.values.dim(1));
}

KernelStatus scatter_rows(Stream& stream, const ScatterRowsArgs& args) {
  if (args.dx.numel() == 0) return KernelStatus::ok();
  Dispatch(stream, {"select", "scatter_rows", {dtype_of(args.dx)}})
      .buffer(args.dy)
      .buffer(args.indices)
      .buffer(args.dx)
      .fault()
      .value(ScatterKargs{args.dy.dim(1), args.dx.dim(1)})
      .groups({static_cast<std::uint64_t>(args.dx.dim(0))}, {kScatterThreads});
  return KernelStatus::ok();
}

}  // namespace wick::mps

#include "backends/mps/copy_bytes.hpp"
#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/copy_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/strided.hpp"
#include "base/truncate.hpp"
#include "runtime/args/elementwise_args.hpp"

namespace wick::mps {

static_assert(sizeof(FillKargs) == 16 + 48 + 48 + 16);
static_assert(sizeof(CopyBytesKargs) == 16);

namespace {

constexpr std::size_t kBytesPerThread = 16;

CopyBytesKargs byte_copy(std::size_t bytes, bool aligned) {
  return {static_cast<std::int64_t>(bytes), aligned ? 1 : 0, 0};
}

bool is_misaligned(const TensorView& view) { return !is_aligned(view.data, size_of(view.dtype)); }

std::int64_t integer_value(const FillArgs& args) {
  switch (args.out.dtype) {
    case DType::kI32:
      return truncate<std::int32_t>(args.value);
    case DType::kI64:
      return truncate<std::int64_t>(args.value);
    case DType::kU8:
      return truncate<std::uint8_t>(args.value);
    case DType::kBool:
      return args.value != 0 ? 1 : 0;
    default:
      return 0;
  }
}

}  // namespace

void copy_bytes(Stream& stream, const std::optional<apple::metal::Buffer>& staged,
                std::span<const std::byte> source, void* data) {
  Dispatch dispatch(stream, {"copy", "copy_bytes"});
  if (staged) {
    dispatch.metal_buffer(*staged);
  } else {
    dispatch.bytes(source);
  }
  dispatch.memory(data)
      .value(byte_copy(source.size(), is_aligned(data, kBytesPerThread)))
      .items(ceil_div(static_cast<std::int64_t>(source.size()), kBytesPerThread));
}

KernelStatus copy(Stream& stream, const CopyArgs& args) {
  const Loops<2> loops = loops_over_all(args.src, args.dst);
  if (loops.numel == 0) return KernelStatus::ok();
  if (args.src.dtype == args.dst.dtype && is_dense(loops)) {
    const std::size_t bytes = static_cast<std::size_t>(loops.numel) * size_of(args.src.dtype);
    const bool aligned =
        is_aligned(args.src.data, kBytesPerThread) && is_aligned(args.dst.data, kBytesPerThread);
    Dispatch(stream, {"copy", "copy_bytes"})
        .buffer(args.src)
        .buffer(args.dst)
        .value(byte_copy(bytes, aligned))
        .items(ceil_div(static_cast<std::int64_t>(bytes), kBytesPerThread));
    return KernelStatus::ok();
  }
  const std::uint32_t misaligned = is_misaligned(args.src) || is_misaligned(args.dst) ? 1 : 0;
  Dispatch(stream, {"copy", "copy", {dtype_of(args.src), dtype_of(args.dst), misaligned}})
      .buffer(args.src)
      .buffer(args.dst)
      .value(loops)
      .items(loops.numel);
  return KernelStatus::ok();
}

KernelStatus fill(Stream& stream, const FillArgs& args) {
  const Loops<1> loops = loops_over_all(args.out);
  if (loops.numel == 0) return KernelStatus::ok();
  const std::uint32_t dtype = dtype_of(args.out);
  Dispatch(stream, {"copy", "fill", {dtype, dtype}})
      .buffer(args.out)
      .value(FillKargs{loops, integer_value(args), static_cast<float>(args.value), 0})
      .items(loops.numel);
  return KernelStatus::ok();
}

}  // namespace wick::mps

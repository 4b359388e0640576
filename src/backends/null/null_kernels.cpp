#include "backends/null/null_kernels.hpp"

#include "backends/null/null_backend.hpp"
#include "runtime/args/all_args.hpp"
#include "runtime/describe.hpp"

namespace wick::null {

namespace {

template <class Args>
KernelStatus note(std::string_view kernel, Stream& stream, const Args& args) {
  std::int64_t bytes = 0;
  args.for_each_view([&](std::string_view, const TensorView& view) {
    if (view) bytes += view.numel() * static_cast<std::int64_t>(size_of(view.dtype));
  });
  null_stream(stream).enqueue(
      {.kernel = std::string(kernel), .operands = describe(args), .bytes = bytes});
  return KernelStatus::ok();
}

}  // namespace

const KernelTable& kernel_table() noexcept {
  static constexpr KernelTable kTable{
#define WICK_KERNEL(id, Args) \
  .id = [](Stream& stream, const Args& args) { return note(#id, stream, args); },
#include "runtime/op_catalog.def"
  };
  return kTable;
}

}  // namespace wick::null

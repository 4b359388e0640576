#include <optional>

#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/move.hpp"

namespace wick {

void copy_(const Tensor& dst, const Tensor& src) {
  const detail::Check check("copy_", {{"dst", dst}, {"src", src}});
  check.writable("dst", dst);
  check.apart("dst", dst, "src", src);
  const std::optional<Layout> repeated = broadcast_to(detail::layout_of(src), dst.shape());
  check.that(repeated.has_value(), ErrorKind::kShape, "src must broadcast to the shape of dst");
  launch(kernels::copy, dst.device(),
         CopyArgs{.src = detail::view(src, *repeated), .dst = detail::view(dst)});
  detail::bump_version(dst);
}

}  // namespace wick

#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/move.hpp"

namespace wick {

void fill_(const Tensor& x, double value) {
  const detail::Check check("fill_", {{"x", x}});
  check.writable("x", x);
  launch(kernels::fill, x.device(), FillArgs{.out = detail::view(x), .value = value});
  detail::bump_version(x);
}

}  // namespace wick

#include "autograd/tape.hpp"
#include "ops/random_key.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

Tensor masked(const Tensor& x, double p, const RandomKeyArgs& key) {
  const Tensor source = detail::dense(x);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch(kernels::dropout, x.device(),
         DropoutArgs{.x = detail::view(source), .out = detail::view(out), .key = key, .p = p});
  return out;
}

}  // namespace

Tensor dropout(const Tensor& x, double p, const RandomKey& key) {
  const detail::Check check("dropout", {{"x", x}});
  check.floating("x", x);
  check.that(p >= 0 && p < 1, ErrorKind::kArgument, "p must be in [0, 1), got {}", p);
  const RandomKeyArgs draws = detail::key_args(check, key, x.device());
  if (p == 0) return x;
  return detail::record("dropout", {x}, masked(x, p, draws), {key.offset_base},
                        [p, key = detail::SavedKey(key)](const detail::BackwardCall& call) {
                          return std::vector{masked(call.dy(), p, key.with(call.saved[0]))};
                        });
}

}  // namespace wick

#include "wick/ops/rope.hpp"

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/rope_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

// saved: positions [B,T] as a view with any strides, inv_freq.
Tensor rotate(const Tensor& x, const Tensor& positions, const Tensor& inv_freq,
              float attention_factor, bool inverse) {
  const Tensor source = detail::dense_last_axis(x);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch(kernels::rope, x.device(),
         RopeArgs{.x = detail::view(source),
                  .positions = detail::view(positions),
                  .inv_freq = detail::view(inv_freq),
                  .out = detail::view(out),
                  .attention_factor = attention_factor,
                  .inverse = inverse});
  return out;
}

void check_operands(const detail::Check& check, const Tensor& x, const Tensor& positions,
                    const Tensor& inv_freq) {
  check.floating("x", x);
  check.index("positions", positions);
  check.that(inv_freq.dtype() == DType::kF32, ErrorKind::kDtype, "inv_freq must be f32");
  check.that(x.rank() == 4, ErrorKind::kShape, "x must be [B,T,H,Dh]");
  check.that(inv_freq.rank() == 1 && 2 * inv_freq.numel() <= x.dim(3), ErrorKind::kShape,
             "inv_freq must be [rotary_dim / 2] with rotary_dim <= Dh = {}", x.dim(3));
  const Shape per_row{x.dim(0), x.dim(1)};
  check.that(positions.shape() == per_row || positions.shape() == Shape{x.dim(1)},
             ErrorKind::kShape, "positions must be {} or [{}] to match x", to_string(per_row),
             x.dim(1));
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& positions, const RopeFrequencies& frequencies) {
  const detail::Check check(
      "rope", {{"x", x}, {"positions", positions}, {"inv_freq", frequencies.inv_freq}});
  check_operands(check, x, positions, frequencies.inv_freq);
  const Tensor own = detail::aligned(positions);
  const Tensor per_row =
      detail::with_layout(own, *broadcast_to(detail::layout_of(own), {x.dim(0), x.dim(1)}));
  const Tensor inv_freq = detail::dense(frequencies.inv_freq);
  const auto factor = static_cast<float>(frequencies.attention_factor);
  return detail::record(
      "rope", {x}, rotate(x, per_row, inv_freq, factor, false), {per_row, inv_freq},
      [factor](const detail::BackwardCall& call) {
        return std::vector{rotate(call.dy(), call.saved[0], call.saved[1], factor, true)};
      });
}

}  // namespace wick

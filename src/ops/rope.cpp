#include "wick/ops/rope.hpp"

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/rope_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

// What a rotation is by, as kernels take it: positions [B,T] as a view with any strides.
struct Angles {
  Tensor positions;
  Tensor inv_freq;
  float attention_factor;
};

Angles angles_for(const Tensor& x, const Tensor& positions, const RopeFrequencies& frequencies) {
  const Tensor own = detail::aligned(positions);
  return {.positions =
              detail::with_layout(own, *broadcast_to(detail::layout_of(own), {x.dim(0), x.dim(1)})),
          .inv_freq = detail::dense(frequencies.inv_freq),
          .attention_factor = static_cast<float>(frequencies.attention_factor)};
}

// y may be undefined, and its result is then, too.
RotatedPair rotate(const Tensor& x, const Tensor& y, const Angles& by, bool inverse) {
  const auto like = [](const Tensor& t) {
    return t.defined() ? Tensor::empty(t.shape(), t.dtype(), t.device()) : Tensor();
  };
  const Tensor x_source = detail::dense_last_axis(x);
  const Tensor y_source = y.defined() ? detail::dense_last_axis(y) : y;
  RotatedPair out{.q = like(x), .k = like(y)};
  launch(kernels::rope, x.device(),
         RopeArgs{.x = detail::view(x_source),
                  .positions = detail::view(by.positions),
                  .inv_freq = detail::view(by.inv_freq),
                  .out = detail::view(out.q),
                  .y = detail::view(y_source),
                  .y_out = detail::view(out.k),
                  .attention_factor = by.attention_factor,
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
             ErrorKind::kShape, "positions must be {} or [{}] to match x", per_row, x.dim(1));
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& positions, const RopeFrequencies& frequencies) {
  const detail::Check check(
      "rope", {{"x", x}, {"positions", positions}, {"inv_freq", frequencies.inv_freq}});
  check_operands(check, x, positions, frequencies.inv_freq);
  const Angles by = angles_for(x, positions, frequencies);
  return detail::record("rope", {x}, rotate(x, Tensor(), by, false).q, {by.positions, by.inv_freq},
                        [factor = by.attention_factor](const detail::BackwardCall& call) {
                          const Angles angles{call.saved[0], call.saved[1], factor};
                          return std::vector{rotate(call.dy(), Tensor(), angles, true).q};
                        });
}

RotatedPair rope(const Tensor& q, const Tensor& k, const Tensor& positions,
                 const RopeFrequencies& frequencies) {
  const detail::Check check(
      "rope", {{"x", q}, {"k", k}, {"positions", positions}, {"inv_freq", frequencies.inv_freq}});
  check_operands(check, q, positions, frequencies.inv_freq);
  check.same_dtype("x", q, "k", k);
  check.that(k.rank() == 4, ErrorKind::kShape, "k must be [B,T,Hkv,Dh]");
  check.shape("k", k, {q.dim(0), q.dim(1), k.dim(2), q.dim(3)}, "to match x but for its heads");
  const Angles by = angles_for(q, positions, frequencies);
  const RotatedPair rotated = rotate(q, k, by, false);
  const Tensor inputs[] = {q, k};
  const Tensor outputs[] = {rotated.q, rotated.k};
  const Tensor saved[] = {by.positions, by.inv_freq};
  detail::record("rope", inputs, outputs, saved,
                 [factor = by.attention_factor](const detail::BackwardCall& call) {
                   const Angles angles{call.saved[0], call.saved[1], factor};
                   const Tensor& dq = call.grads[0];
                   const Tensor& dk = call.grads[1];
                   if (!dq.defined()) return std::vector{Tensor(), rotate(dk, dq, angles, true).q};
                   const RotatedPair both = rotate(dq, dk, angles, true);
                   return std::vector{both.q, both.k};
                 });
  return rotated;
}

}  // namespace wick

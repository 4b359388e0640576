#include "wick/ops/attention.hpp"

#include <cmath>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

void check_heads(const detail::Check& check, const Tensor& q, const Tensor& k, const Tensor& v) {
  check.floating("q", q);
  check.same_dtype("k", k, "q", q);
  check.same_dtype("v", v, "q", q);
  check.that(q.rank() == 4 && k.rank() == 4, ErrorKind::kShape,
             "q must be [B,T,H,Dh] and k [B,S,Hkv,Dh]");
  check.shape("v", v, k.shape(), "to match k");
  check.that(k.dim(0) == q.dim(0) && k.dim(3) == q.dim(3) && q.dim(3) >= 1, ErrorKind::kShape,
             "k must have the B and Dh of q, {} and {}, with Dh at least 1", q.dim(0), q.dim(3));
  check.that(k.dim(2) >= 1 && q.dim(2) % k.dim(2) == 0, ErrorKind::kShape,
             "the {} heads of q must be a multiple of the {} heads of k", q.dim(2), k.dim(2));
}

void check_mask(const detail::Check& check, const Tensor& q, const Tensor& k,
                const AttentionOptions& options) {
  const Shape per_key{k.dim(0), k.dim(1)};
  const bool aligned_ends = options.causal || options.window != 0 || options.segments.defined();
  check.that(!aligned_ends || q.dim(1) <= k.dim(1), ErrorKind::kShape,
             "causal, window and segments need at most as many queries ({}) as keys ({})", q.dim(1),
             k.dim(1));
  check.that(options.window >= 0, ErrorKind::kArgument, "window must not be negative, got {}",
             options.window);
  check.that(std::isfinite(options.scale) && options.scale >= 0, ErrorKind::kArgument,
             "scale must be finite and not negative, got {}", options.scale);
  if (options.key_mask.defined()) {
    check.that(options.key_mask.dtype() == DType::kBool, ErrorKind::kDtype,
               "key_mask must be bool");
    check.shape("key_mask", options.key_mask, per_key, "to match k");
  }
  if (options.segments.defined()) {
    check.that(options.segments.dtype() == DType::kI32, ErrorKind::kDtype, "segments must be i32");
    check.shape("segments", options.segments, per_key, "to match k");
  }
}

// What of the options is not a tensor.
struct Constants {
  float scale;
  bool causal;
  std::int64_t window;

  AttentionMask mask(const Tensor& key_mask, const Tensor& segments) const {
    return {.causal = causal,
            .window = window,
            .key_mask = detail::view(key_mask),
            .segments = detail::view(segments)};
  }
};

// saved: q, k, v, out, lse, key_mask, segments.
std::vector<Tensor> attention_gradient(const detail::BackwardCall& call,
                                       const Constants& constants) {
  const Tensor dout = detail::dense(call.dy());
  std::vector<Tensor> grads(3);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const Tensor& like = call.saved[i];
    if (call.wanted[i]) grads[i] = Tensor::empty(like.shape(), like.dtype(), like.device());
  }
  launch(kernels::attention_backward, dout.device(),
         AttentionBackwardArgs{.dout = detail::view(dout),
                               .q = detail::view(call.saved[0]),
                               .k = detail::view(call.saved[1]),
                               .v = detail::view(call.saved[2]),
                               .out = detail::view(call.saved[3]),
                               .lse = detail::view(call.saved[4]),
                               .dq = detail::view(grads[0]),
                               .dk = detail::view(grads[1]),
                               .dv = detail::view(grads[2]),
                               .mask = constants.mask(call.saved[5], call.saved[6]),
                               .scale = constants.scale});
  return grads;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options) {
  const detail::Check check("attention", {{"q", q},
                                          {"k", k},
                                          {"v", v},
                                          {"key_mask", options.key_mask, true},
                                          {"segments", options.segments, true}});
  check_heads(check, q, k, v);
  check_mask(check, q, k, options);
  const double scale =
      options.scale > 0 ? options.scale : 1 / std::sqrt(static_cast<double>(q.dim(3)));
  const Constants constants{static_cast<float>(scale), options.causal, options.window};

  const Tensor queries = detail::dense_last_axis(q);
  const Tensor keys = detail::dense_last_axis(k);
  const Tensor values = detail::dense_last_axis(v);
  const Tensor segments = options.segments.defined() ? detail::aligned(options.segments) : Tensor();
  Tensor out = Tensor::empty(q.shape(), q.dtype(), q.device());
  Tensor lse;
  if (detail::needs_gradient({q, k, v})) {
    lse = Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, DType::kF32, q.device());
  }
  launch(kernels::attention, q.device(),
         AttentionArgs{.q = detail::view(queries),
                       .k = detail::view(keys),
                       .v = detail::view(values),
                       .out = detail::view(out),
                       .lse = detail::view(lse),
                       .mask = constants.mask(options.key_mask, segments),
                       .scale = constants.scale});
  return detail::record("attention", {q, k, v}, out,
                        {queries, keys, values, out, lse, options.key_mask, segments},
                        [constants](const detail::BackwardCall& call) {
                          return attention_gradient(call, constants);
                        });
}

}  // namespace wick

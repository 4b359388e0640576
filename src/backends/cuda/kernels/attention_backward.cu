#include "backends/cuda/kernels/attention_scalar_backward.cuh"
#include "runtime/variants.hpp"

// With P = exp(scale · q kᵀ − lse) and delta = rowsum(dout · out): dv = Pᵀ dout, dS = P (dout vᵀ − delta),
// dq = scale · dS k, dk = scale · dSᵀ q. One kernel owns tiles of rows and makes dq, another owns tiles of
// keys and makes dk and dv: 7 products where a single pass needs 5, but each sum has one owner and a fixed
// order.

namespace wick::cuda {

namespace {

template <class T, int kColumnTiles>
void scalar_backward(Stream& stream, const AttentionProblem& p, const BackwardOperands<T>& x,
                     const AttentionBackwardArgs& a) {
  const auto grid = [&](std::int64_t items) {
    return dim3(static_cast<unsigned>(p.B * p.Hkv * ceil_div(items, kAttentionTile)),
                static_cast<unsigned>(ceil_div(p.Dh, kBackwardColumns)));
  };
  if (a.dq) {
    launch_on(stream, scalar_dq_kernel<T, kColumnTiles>, grid(p.rows), kScalarThreads, 0, p, x,
              data_of<T>(a.dq));
  }
  if (a.dk || a.dv) {
    launch_on(stream, scalar_dkv_kernel<T, kColumnTiles>, grid(p.S), kScalarThreads, 0, p, x,
              data_of<T>(a.dk), data_of<T>(a.dv));
  }
}

void clear(Stream& stream, const TensorView& x) {
  if (!x || x.numel() == 0) return;
  check(cudaMemsetAsync(x.data, 0, static_cast<std::size_t>(x.numel()) * size_of(x.dtype), activate(stream)),
        "cudaMemsetAsync");
}

template <class T>
void plain_backward(Stream& stream, const AttentionBackwardArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask, a.scale);
  const Scratch memory(stream, static_cast<std::size_t>(a.lse.numel()) * 2 * sizeof(float));
  const BackwardOperands<T> x{.q = HeadRows<const T>(a.q),
                              .k = HeadRows<const T>(a.k),
                              .v = HeadRows<const T>(a.v),
                              .dout = HeadRows<const T>(a.dout),
                              .statistics = make_row_statistics<T>(stream, p, a, memory.as<float>())};
  if (p.Dh <= 64) {
    scalar_backward<T, 1>(stream, p, x, a);
  } else {
    scalar_backward<T, 2>(stream, p, x, a);
  }
}

// Our own kernels: every call.
KernelStatus plain_attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  if (a.q.numel() == 0 || a.k.numel() == 0) {  // nothing is seen by anybody
    clear(stream, a.dq);
    clear(stream, a.dk);
    clear(stream, a.dv);
    return KernelStatus::ok();
  }
  if (!fits_attention_problem(a.q, a.k)) return KernelStatus::unsupported("more than 2^30 rows or keys");
  switch_floating(a.q.dtype, [&]<class T>(std::type_identity<T>) { plain_backward<T>(stream, a); });
  return KernelStatus::ok();
}

}  // namespace

KernelStatus attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  static constexpr Variant<AttentionBackwardArgs> kVariants[] = {{"plain", plain_attention_backward}};
  // One setting steers both directions.
  return run_variants<AttentionBackwardArgs>("attention", kVariants, stream, a);
}

}  // namespace wick::cuda

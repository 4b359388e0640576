#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/cudnn_attention.hpp"
#include "backends/cuda/kernels/attention_scalar_backward.cuh"
#include "backends/cuda/kernels/attention_tensor_dkv.cuh"
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

// Parts of the rows that blocks of keys look at, so that there are some blocks for each multiprocessor: with
// a causal mask their sizes differ widely.
int row_splits_of(Stream& stream, std::int64_t tasks) {
  constexpr std::int64_t kBlocksEach = 6;
  const std::int64_t multiprocessors = backend_of_stream(stream).properties().multiProcessorCount;
  return static_cast<int>(
      std::clamp<std::int64_t>(ceil_div(kBlocksEach * multiprocessors, tasks), 1, 8));
}

template <class Kernel>
void allow_shared_memory(Stream& stream, Kernel kernel, std::size_t bytes) {
  activate(stream);  // the attribute belongs to the current device
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "cudaFuncSetAttribute");
}

template <class T, class Shape>
void tensor_dkv(Stream& stream, const AttentionProblem& p, const BackwardOperands<T>& x,
                const AttentionBackwardArgs& a) {
  const auto kernel = tensor_dkv_kernel<T, Shape>;
  allow_shared_memory(stream, kernel, Shape::kSharedBytes);
  const std::int64_t tasks = std::int64_t{p.B} * p.Hkv * ceil_div(p.S, Shape::kOwn);
  KeyGradients<T> result{.dk = data_of<T>(a.dk), .dv = data_of<T>(a.dv)};
  result.splits = row_splits_of(stream, tasks);
  const std::int64_t count = a.k.numel();
  const std::int64_t floats = result.splits == 1 ? 0 : count * result.splits;
  const Scratch dk_parts(stream, a.dk ? static_cast<std::size_t>(floats) * sizeof(float) : 0);
  const Scratch dv_parts(stream, a.dv ? static_cast<std::size_t>(floats) * sizeof(float) : 0);
  if (result.splits > 1) {
    result.partial_dk = dk_parts.as<float>();
    result.partial_dv = dv_parts.as<float>();
  }
  launch_on(stream, kernel, static_cast<unsigned>(tasks * result.splits), kTensorThreads,
            Shape::kSharedBytes, p, x, result);
  if (result.splits == 1) return;
  constexpr int kThreads = 256;
  const auto blocks = static_cast<unsigned>(ceil_div(count, 4 * kThreads));
  if (a.dk) {
    launch_on(stream, sum_splits<T>, blocks, kThreads, 0, result.partial_dk, result.splits, count,
              result.dk);
  }
  if (a.dv) {
    launch_on(stream, sum_splits<T>, blocks, kThreads, 0, result.partial_dv, result.splits, count,
              result.dv);
  }
}

template <class T, class RowShape, class KeyShape>
void tensor_backward(Stream& stream, const AttentionProblem& p, const BackwardOperands<T>& x,
                     const AttentionBackwardArgs& a) {
  if (a.dq) {
    const auto kernel = tensor_dq_kernel<T, RowShape>;
    allow_shared_memory(stream, kernel, RowShape::kSharedBytes);
    const std::int64_t tasks = std::int64_t{p.B} * p.Hkv * ceil_div(p.rows, RowShape::kOwn);
    launch_on(stream, kernel, static_cast<unsigned>(tasks), kTensorThreads, RowShape::kSharedBytes,
              p, x, data_of<T>(a.dq));
  }
  if (a.dk || a.dv) tensor_dkv<T, KeyShape>(stream, p, x, a);
}

bool suits_tensor_cores(const AttentionBackwardArgs& a) {
  for (const TensorView* x : {&a.q, &a.k, &a.v, &a.dout}) {
    if (!copies_in_chunks(*x)) return false;
  }
  for (const TensorView* x : {&a.dq, &a.dk, &a.dv}) {
    if (*x && !is_aligned(x->data, 16)) return false;
  }
  return a.q.dim(3) <= 128;
}

void clear(Stream& stream, const TensorView& x) {
  if (!x || x.numel() == 0) return;
  check(cudaMemsetAsync(x.data, 0, static_cast<std::size_t>(x.numel()) * size_of(x.dtype),
                        activate(stream)),
        "cudaMemsetAsync");
}

template <class T>
void plain_backward(Stream& stream, const AttentionBackwardArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask, a.scale);
  const Scratch memory(stream, static_cast<std::size_t>(a.lse.numel()) * 2 * sizeof(float));
  const BackwardOperands<T> x{
      .q = HeadRows<const T>(a.q),
      .k = HeadRows<const T>(a.k),
      .v = HeadRows<const T>(a.v),
      .dout = HeadRows<const T>(a.dout),
      .statistics = make_row_statistics<T>(stream, p, a, memory.as<float>())};
  if constexpr (sizeof(T) == 2) {
    if (suits_tensor_cores(a)) {
      if (p.Dh <= 64) {
        return tensor_backward<T, BackwardShape<64, 2, 32>, BackwardShape<64, 1, 64>>(stream, p, x,
                                                                                      a);
      }
      return tensor_backward<T, BackwardShape<128, 1, 64>, BackwardShape<128, 1, 32>>(stream, p, x,
                                                                                      a);
    }
  }
  if (p.Dh <= 64) return scalar_backward<T, 1>(stream, p, x, a);
  scalar_backward<T, 2>(stream, p, x, a);
}

// Our own kernels: every call.
KernelStatus plain_attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  if (a.q.numel() == 0 || a.k.numel() == 0) {  // nothing is seen by anybody
    clear(stream, a.dq);
    clear(stream, a.dk);
    clear(stream, a.dv);
    return KernelStatus::ok();
  }
  if (!fits_attention_problem(a.q, a.k))
    return KernelStatus::unsupported("more than 2^30 rows or keys");
  switch_floating(a.q.dtype, [&]<class T>(std::type_identity<T>) { plain_backward<T>(stream, a); });
  return KernelStatus::ok();
}

KernelStatus cudnn_attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  return backend_of_stream(stream).cudnn_attention().backward(stream, a);
}

}  // namespace

KernelStatus attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  static constexpr Variant<AttentionBackwardArgs> kVariants[] = {
      {"cudnn", cudnn_attention_backward}, {"plain", plain_attention_backward}};
  // One setting steers both directions.
  return run_variants<AttentionBackwardArgs>("attention", kVariants, stream, a);
}

}  // namespace wick::cuda

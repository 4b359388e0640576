#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/exponential.cuh"
#include "backends/cuda/kernels/cross_entropy_one_pass.cuh"
#include "backends/cuda/kernels/cross_entropy_rows.cuh"
#include "backends/cuda/tiles.cuh"
#include "runtime/args/cross_entropy_args.hpp"
#include "runtime/variants.hpp"

namespace wick::cuda {

namespace {

struct Sums {
  float* loss;
  float* weight;
  float* inv_weight;  // may be null
  bool accumulate;
};

// Out is T, or any floating type when T is float.
template <class T, class Out, class Index>
struct Backward {
  const float* dloss;
  const float* factor;
  const T* logits;
  std::int64_t stride;
  const Index* targets;
  const float* weights;
  const float* lse;
  Out* dlogits;
  std::int64_t N;
  std::int64_t V;
  std::int64_t ignore_index;
  float label_smoothing;
};

// A block per row, which reads it once. A target out of range is reported and its row counts as ignored.
template <int kVec, bool kSmooth, class T, class Index>
__global__ void __launch_bounds__(kLongRowThreads) cross_entropy_rows(LossRows<T, Index> a) {
  __shared__ ReduceRoom<1> for_max;
  __shared__ ReduceRoom<1> for_sum;
  __shared__ ReduceRoom<1> for_logits;
  const std::int64_t n = blockIdx.x;
  const std::int64_t target = a.targets[n];
  if (!a.counts(target)) {
    if (threadIdx.x == 0) a.leave_out(n, target);
    return;
  }
  const T* const z = a.logits + n * a.stride;
  ExponentialSum<T> total;
  float logits = 0;
  for_each_pack<kVec>(z, a.V, [&](std::int64_t, const Raw<kVec, T>& raw) {
    total.add(raw);
    if constexpr (kSmooth) {
#pragma unroll
      for (int i = 0; i < kVec; ++i) logits += raw.get(i);
    }
  });
  total.reduce(for_max, for_sum);
  if constexpr (kSmooth) logits = row_reduce<RowSum>(logits, for_logits);
  if (threadIdx.x != 0) return;
  a.finish(n, {total.max, total.sum, to_float(z[target]), logits}, a.weight(n));
}

// Adds the rows up in double, each thread every kSumThreads-th row, and the threads in a fixed order.
constexpr int kSumThreads = 512;

__global__ void __launch_bounds__(kSumThreads)
    add_row_losses(const RowLoss* rows, std::int64_t N, Sums sums) {
  __shared__ RowLoss parts[kSumThreads];
  const int thread = static_cast<int>(threadIdx.x);
  RowLoss own = {0, 0};
#pragma unroll 4
  for (std::int64_t n = thread; n < N; n += kSumThreads) {
    own.loss += rows[n].loss;
    own.weight += rows[n].weight;
  }
  parts[thread] = own;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;
    parts[thread].loss += parts[thread + half].loss;
    parts[thread].weight += parts[thread + half].weight;
  }
  if (thread != 0) return;
  const double loss = parts[0].loss + (sums.accumulate ? static_cast<double>(*sums.loss) : 0.0);
  const float weight = static_cast<float>(
      parts[0].weight + (sums.accumulate ? static_cast<double>(*sums.weight) : 0.0));
  *sums.loss = static_cast<float>(loss);
  *sums.weight = weight;
  if (sums.inv_weight != nullptr) *sums.inv_weight = weight == 0 ? 0.0F : 1.0F / weight;
}

constexpr int kPacks = 4;

// dz = c (exp(z − lse) − (1 − ε) onehot(t) − ε / V). Each element is read and written by the same thread: dz
// may be z.
template <int kVec, class T, class Out, class Index>
__global__ void __launch_bounds__(kTileThreads)
    cross_entropy_backward_tiles(Backward<T, Out, Index> a) {
  const Tile<T, kVec, kPacks> tile(a.V);
  const std::int64_t target = a.targets[tile.row];
  const bool ignored = target == a.ignore_index || target < 0 || target >= a.V;
  const float dloss = a.dloss == nullptr ? 1.0F : *a.dloss;
  const float factor = a.factor == nullptr ? 1.0F : *a.factor;
  const float weight = a.weights == nullptr ? 1.0F : a.weights[tile.row];
  const float c = dloss * factor * weight;
  const float lse = a.lse[tile.row];
  const float shift = lse == -INFINITY ? INFINITY : lse;  // no probability: a softmax of zeros
  const float uniform = a.label_smoothing / static_cast<float>(a.V);
  Raw<kVec, T> z[kPacks];
  if (!ignored) tile.load(a.logits + tile.row * a.stride, z);
  tile.for_each([&](int i, std::int64_t column) {
    float gradient[kVec];
#pragma unroll
    for (int j = 0; j < kVec; ++j) {
      const float share = column + j == target ? 1.0F - a.label_smoothing : 0.0F;
      const float probability = ignored ? 0.0F : exponential<Out>(z[i].get(j) - shift);
      gradient[j] = ignored ? 0.0F : c * (probability - share - uniform);
    }
    store_values<kVec>(a.dlogits + tile.row * a.V + column, gradient);
  });
}

// ---- Launches -----------------------------------------------------------------------------------

template <class T, class Index>
void launch_rows(Stream& stream, const LossRows<T, Index>& a) {
  const bool wide = a.V % kPackSize<T> == 0 && rows_aligned(a.logits, sizeof(T), a.stride, a.N);
  const std::int64_t packs = wide ? a.V / kPackSize<T> : a.V;
  const auto warps = std::clamp<std::int64_t>(ceil_div(packs, 4 * kWarp), 1, 16);
  const dim3 grid(static_cast<unsigned>(a.N));
  const dim3 block(static_cast<unsigned>(warps * kWarp));
  const auto run = [&]<int kVec>(Int<kVec>) {
    if (a.label_smoothing == 0) {
      launch_on(stream, cross_entropy_rows<kVec, false, T, Index>, grid, block, 0, a);
    } else {
      launch_on(stream, cross_entropy_rows<kVec, true, T, Index>, grid, block, 0, a);
    }
  };
  if (wide) {
    run(Int<kPackSize<T>>{});
  } else {
    run(Int<1>{});
  }
}

template <class T, class Out, class Index>
void launch_backward(Stream& stream, const Backward<T, Out, Index>& a) {
  const bool wide = a.V % kPackSize<T> == 0 && is_aligned(a.dlogits, 16) &&
                    rows_aligned(a.logits, sizeof(T), a.stride, a.N);
  const auto run = [&]<int kVec>(Int<kVec>) {
    const dim3 grid = tile_grid<Tile<T, kVec, kPacks>>(a.N, a.V);
    launch_on(stream, cross_entropy_backward_tiles<kVec, T, Out, Index>, grid, dim3(kTileThreads),
              0, a);
  };
  if (wide) {
    run(Int<kPackSize<T>>{});
  } else {
    run(Int<1>{});
  }
}

template <class T, class Out>
void backward_of(Stream& stream, const CrossEntropyBackwardArgs& args) {
  switch_index(args.targets.dtype, [&]<class Index>(std::type_identity<Index>) {
    launch_backward(stream, Backward<T, Out, Index>{.dloss = data_of<const float>(args.dloss),
                                                    .factor = data_of<const float>(args.factor),
                                                    .logits = data_of<const T>(args.logits),
                                                    .stride = args.logits.stride(0),
                                                    .targets = data_of<const Index>(args.targets),
                                                    .weights = data_of<const float>(args.weights),
                                                    .lse = data_of<const float>(args.lse),
                                                    .dlogits = data_of<Out>(args.dlogits),
                                                    .N = args.logits.dim(0),
                                                    .V = args.logits.dim(1),
                                                    .ignore_index = args.ignore_index,
                                                    .label_smoothing = args.label_smoothing});
  });
}

template <class T, class Index>
LossRows<T, Index> rows_of(Stream& stream, const CrossEntropyArgs& args, RowLoss* rows) {
  return {.logits = data_of<const T>(args.logits),
          .stride = args.logits.stride(0),
          .targets = data_of<const Index>(args.targets),
          .weights = data_of<const float>(args.weights),
          .lse = data_of<float>(args.lse),
          .rows = rows,
          .fault = backend_of_stream(stream).fault(),
          .N = args.logits.dim(0),
          .V = args.logits.dim(1),
          .ignore_index = args.ignore_index,
          .first_row = args.first_row,
          .label_smoothing = args.label_smoothing};
}

void launch_sums(Stream& stream, const CrossEntropyArgs& args, const RowLoss* rows) {
  const Sums sums{.loss = data_of<float>(args.loss_sum),
                  .weight = data_of<float>(args.weight_sum),
                  .inv_weight = data_of<float>(args.inv_weight),
                  .accumulate = args.accumulate};
  launch_on(stream, add_row_losses, dim3(1), dim3(kSumThreads), 0, rows, args.logits.dim(0), sums);
}

// ---- Variants -----------------------------------------------------------------------------------

// The gradient with the loss, each logit read once.
KernelStatus one_pass(Stream& stream, const CrossEntropyArgs& args) {
  if (!args.dlogits) return KernelStatus::unsupported("no gradient is wanted at once");
  if (args.logits.dtype != DType::kF32) return KernelStatus::unsupported("logits are not f32");
  const std::int64_t N = args.logits.dim(0);
  const Scratch rows(stream, static_cast<std::size_t>(N) * sizeof(RowLoss));
  KernelStatus status = KernelStatus::ok();
  if (N > 0) {
    switch_floating(args.dlogits.dtype, [&]<class Out>(std::type_identity<Out>) {
      switch_index(args.targets.dtype, [&]<class Index>(std::type_identity<Index>) {
        status = run_one_pass(stream, rows_of<float, Index>(stream, args, rows.as<RowLoss>()),
                              data_of<Out>(args.dlogits));
      });
    });
  }
  if (status.is_ok()) launch_sums(stream, args, rows.as<RowLoss>());
  return status;
}

// The loss, then the gradient where it is wanted.
KernelStatus two_pass(Stream& stream, const CrossEntropyArgs& args) {
  const std::int64_t N = args.logits.dim(0);
  const Scratch rows(stream, static_cast<std::size_t>(N) * sizeof(RowLoss));
  if (N > 0) {
    switch_floating(args.logits.dtype, [&]<class T>(std::type_identity<T>) {
      switch_index(args.targets.dtype, [&]<class Index>(std::type_identity<Index>) {
        launch_rows(stream, rows_of<T, Index>(stream, args, rows.as<RowLoss>()));
      });
    });
  }
  launch_sums(stream, args, rows.as<RowLoss>());
  return args.dlogits ? cross_entropy_backward(stream, gradient_of(args)) : KernelStatus::ok();
}

constexpr Variant<CrossEntropyArgs> kVariants[] = {{"one_pass", one_pass}, {"two_pass", two_pass}};

}  // namespace

KernelStatus cross_entropy(Stream& stream, const CrossEntropyArgs& args) {
  return run_variants<CrossEntropyArgs>("cross_entropy", kVariants, stream, args);
}

KernelStatus cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& args) {
  if (args.logits.numel() == 0) return KernelStatus::ok();
  switch_floating(args.dlogits.dtype, [&]<class Out>(std::type_identity<Out>) {
    if (args.logits.dtype == args.dlogits.dtype) {
      backward_of<Out, Out>(stream, args);
    } else {
      backward_of<float, Out>(stream, args);
    }
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

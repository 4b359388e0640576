#include "backends/cuda/few_rows.hpp"

#include <array>

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostRows = 8;
constexpr std::int64_t kMostColumns = std::int64_t{1} << 30;
// Each thread copies its packs of w to shared memory for itself, a few steps ahead of its sums and on into its next
// row: 192 bytes a thread are on their way, 144 KiB a multiprocessor, where 64 hide the memory's latency.
constexpr int kTogether = 4;  // packs of a step
constexpr int kSteps = 4;     // in shared memory
constexpr int kSharedBytes = kThreads * kTogether * kSteps * 16;
constexpr int kBlocksPerMultiprocessor = 3;

// The products of a launch, one below the other: `rows` is Σ N. M, K and dtypes are the first one's.
struct Group {
  FewRows products[kMostFewRows];
  std::int64_t rows;
  bool next_begins;  // the kernel behind this one may begin at once
};

// A row of a group: row n of one of its products.
struct GroupRow {
  int product = 0;
  std::int64_t n = 0;

  __device__ __forceinline__ GroupRow(const Group& group, std::int64_t row) : n(row) {
    while (n >= group.products[product].N) n -= group.products[product++].N;
  }
};

template <class X>
__device__ __forceinline__ float small_element(const void* data, DType dtype, std::int64_t i) {
  return dtype == DType::kF32 ? static_cast<const float*>(data)[i]
                              : to_float(static_cast<const X*>(data)[i]);
}

// The packs of w that a thread needs, step by step and row after row, as they come in.
template <class W>
class WeightSteps {
 public:
  static constexpr int kVec = kPackSize<W>;

  // Rows first, first + row_step, …; in each of them every `width`-th pack from `begin` on.
  __device__ WeightSteps(const Group& group, uint4* slots, std::int64_t first,
                         std::int64_t row_step, int begin, int width)
      : group_(group),
        slots_(slots + threadIdx.x),
        row_(first),
        row_step_(row_step),
        begin_(begin * kVec),
        width_(width * kVec) {
    seek();
    for (int i = 0; i < kSteps - 1; ++i) fetch();
  }

  // The oldest step, until the next call.
  __device__ __forceinline__ const uint4* take() {
    wait_for_copies<kSteps - 2>();
    const uint4* const slot = slots_ + taken_ * kTogether * kThreads;
    taken_ = (taken_ + 1) % kSteps;
    fetch();
    return slot;
  }

 private:
  __device__ __forceinline__ void seek() {
    k_ = begin_;
    if (row_ >= group_.rows) return;
    const GroupRow at(group_, row_);
    w_ = static_cast<const W*>(group_.products[at.product].w) + at.n * group_.products[0].K;
  }

  // Into the place of the step before the one that is being summed.
  __device__ __forceinline__ void fetch() {
    const std::int64_t K = group_.products[0].K;
    if (row_ < group_.rows) {
      const unsigned slot = shared_address(slots_ + fetched_ * kTogether * kThreads);
#pragma unroll
      for (int u = 0; u < kTogether; ++u) {
        const std::int64_t k = k_ + u * width_;
        if (k < K) copy_async(slot + u * kThreads * 16, w_ + k, true);
      }
      k_ += kTogether * width_;
      // Every thread of a row takes as many steps of it.
      if (k_ - begin_ >= K) {
        row_ += row_step_;
        seek();
      }
    }
    fetched_ = (fetched_ + 1) % kSteps;
    commit_copies();
  }

  const Group& group_;
  uint4* slots_;
  const W* w_ = nullptr;
  std::int64_t row_, row_step_;
  std::int64_t k_ = 0;
  int begin_, width_;
  int taken_ = 0;
  int fetched_ = 0;
};

// sums[m] += the terms of one pack of w with those of x's rows.
template <int kVec, int kM, class X, class W>
__device__ __forceinline__ void add_terms(const Pack<W, kVec>& w, const X* x, std::int64_t K,
                                          float (&sums)[kM]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    float values[kVec];
    load_pack<kVec>(x + m * K, values);
#pragma unroll
    for (int i = 0; i < kVec; ++i) sums[m] = fmaf(values[i], to_float(w.values[i]), sums[m]);
  }
}

// This thread's part of a row's sums.
template <class X, class W, int kM>
__device__ __forceinline__ void add_row(const X* x, std::int64_t K, int begin, int width,
                                        WeightSteps<W>& steps, float (&sums)[kM]) {
  constexpr int kVec = kPackSize<W>;
  const std::int64_t step = std::int64_t{width} * kVec;
  for (std::int64_t from = 0; from < K; from += kTogether * step) {
    const uint4* const slot = steps.take();
    const std::int64_t k = from + std::int64_t{begin} * kVec;
#pragma unroll
    for (int u = 0; u < kTogether; ++u) {
      if (k + u * step >= K) continue;
      add_terms<kVec, kM>(__builtin_bit_cast(Pack<W, kVec>, slot[u * kThreads]), x + k + u * step,
                          K, sums);
    }
  }
}

// A row of w for a warp, or for a whole block where there are few rows; each has several, a grid apart.
template <class X, class W, class Out, int kM, bool kWhole>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    few_rows_kernel(const __grid_constant__ Group group) {
  extern __shared__ uint4 slots[];
  if (group.next_begins) hopper::let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int begin = kWhole ? static_cast<int>(threadIdx.x) : lane;
  constexpr int kWidth = kWhole ? kThreads : kWarp;
  // Neighbours in a multiprocessor's warps are a grid apart, so that what remains at the end spreads over all of them.
  const std::int64_t first = std::int64_t{kWhole ? 0 : warp} * gridDim.x + blockIdx.x;
  const std::int64_t row_step = std::int64_t{kWhole ? 1 : kWarps} * gridDim.x;
  const std::int64_t K = group.products[0].K;
  WeightSteps<W> steps(group, slots, first, row_step, begin, kWidth);
  for (std::int64_t row = first; row < group.rows; row += row_step) {
    const GroupRow at(group, row);
    const FewRows& a = group.products[at.product];
    const bool adapts = !kWhole || warp == 0;
    const bool has_rank = adapts && lane < a.R;
    // On their way while w comes in.
    const float b = has_rank ? small_element<X>(a.b, a.b_dtype, at.n * a.R + lane) : 0.0F;
    const float bias = a.bias == nullptr ? 0.0F : to_float(static_cast<const Out*>(a.bias)[at.n]);
    float sums[kM] = {};
    add_row<X, W, kM>(static_cast<const X*>(a.x), K, begin, kWidth, steps, sums);
    hopper::wait_for_previous();  // which makes xa
    for (int r = lane; adapts && r < a.R; r += kWarp) {
      const float share =
          a.scale * (r == lane ? b : small_element<X>(a.b, a.b_dtype, at.n * a.R + r));
#pragma unroll
      for (int m = 0; m < kM; ++m) sums[m] = fmaf(a.xa[m * a.R + r], share, sums[m]);
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const float total = kWhole ? block_reduce<Sum>(sums[m], 0.0F) : warp_reduce<Sum>(sums[m]);
      if (kWhole ? threadIdx.x != 0 : lane != 0) continue;
      static_cast<Out*>(a.out)[m * a.N + at.n] = from_float<Out>(total + bias);
    }
  }
}

// ---- Launches -----------------------------------------------------------------------------------

enum class Begins { kAfterPrevious, kWithPrevious };

template <class X, class W, class Out, int kM, bool kWhole>
void launch_kernel(Stream& stream, const Group& group, Begins begins) {
  const auto kernel = &few_rows_kernel<X, W, Out, kM, kWhole>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes),
        "cudaFuncSetAttribute");
  // As many as there are places, even where some warps then have nothing: rows spread over all multiprocessors.
  const unsigned blocks = grid_of(stream, group.rows, 1, kBlocksPerMultiprocessor);
  if (begins == Begins::kWithPrevious && has_hopper_code(stream, kernel)) {
    launch_early_on(stream, kernel, blocks, kThreads, kSharedBytes, group);
  } else {
    launch_on(stream, kernel, blocks, kThreads, kSharedBytes, group);
  }
}

template <class X, class W, class Out, int kM>
void launch_few_rows(Stream& stream, const Group& group, Begins begins) {
  const std::int64_t multiprocessors = backend_of_stream(stream).properties().multiProcessorCount;
  if (group.rows < multiprocessors * kWarps) {
    launch_kernel<X, W, Out, kM, true>(stream, group, begins);
  } else {
    launch_kernel<X, W, Out, kM, false>(stream, group, begins);
  }
}

std::int64_t rows_of(std::span<const FewRows> products) {
  std::int64_t rows = 0;
  for (const FewRows& product : products) rows += product.N;
  return rows;
}

// Rows m to m + M of x and of the results.
template <class X, class Out>
Group part_of(std::span<const FewRows> products, std::int64_t m, std::int64_t M) {
  Group group{.products = {}, .rows = rows_of(products), .next_begins = false};
  for (std::size_t i = 0; i < products.size(); ++i) {
    FewRows& part = group.products[i] = products[i];
    part.M = M;
    part.x = static_cast<const X*>(part.x) + m * part.K;
    part.xa = part.xa == nullptr ? nullptr : part.xa + m * part.R;
    part.out = static_cast<Out*>(part.out) + m * part.N;
  }
  return group;
}

template <class X, class W, class Out>
void switch_rows(Stream& stream, std::span<const FewRows> products, Begins begins,
                 bool next_begins) {
  // Four rows at a time keep the kernels few: what remains goes one by one, where w is in the second-level cache.
  const std::int64_t M = products[0].M;
  for (std::int64_t m = 0; m < M;) {
    const std::int64_t rows = M - m >= 4 ? 4 : 1;
    Group group = part_of<X, Out>(products, m, rows);
    m += rows;
    group.next_begins = next_begins && m == M;
    if (rows == 4) {
      launch_few_rows<X, W, Out, 4>(stream, group, begins);
    } else {
      launch_few_rows<X, W, Out, 1>(stream, group, begins);
    }
    begins = Begins::kAfterPrevious;
  }
}

void run_group(Stream& stream, std::span<const FewRows> products, Begins begins, bool next_begins) {
  const bool wide_w = products[0].w_dtype == DType::kF32;
  const bool wide_out = products[0].out_dtype == DType::kF32;
  switch_floating(products[0].x_dtype, [&]<class X>(std::type_identity<X>) {
    if (wide_w && wide_out) {
      return switch_rows<X, float, float>(stream, products, begins, next_begins);
    }
    if (wide_out) return switch_rows<X, X, float>(stream, products, begins, next_begins);
    if (wide_w) return switch_rows<X, float, X>(stream, products, begins, next_begins);
    switch_rows<X, X, X>(stream, products, begins, next_begins);
  });
}

// x aᵀ of a product whose xa is to be made.
FewRows thin_of(const FewRows& product) {
  return {.M = product.M,
          .N = product.R,
          .K = product.K,
          .x = product.x,
          .x_dtype = product.x_dtype,
          .w = product.a,
          .w_dtype = product.a_dtype,
          .out = product.xa};
}

bool makes_xa(const FewRows& product) { return product.a != nullptr && product.R > 0; }

bool are_alike(const FewRows& a, const FewRows& b) {
  return a.M == b.M && a.K == b.K && a.x_dtype == b.x_dtype && a.w_dtype == b.w_dtype &&
         a.out_dtype == b.out_dtype && (!makes_xa(a) || !makes_xa(b) || a.a_dtype == b.a_dtype);
}

}  // namespace

bool takes_few_rows(const FewRows& a) {
  const auto is_one_of_two = [&](DType dtype) {
    return dtype == DType::kF32 || dtype == a.x_dtype;
  };
  const bool whole_packs = a.K % 8 == 0 && is_aligned(a.w, 16) && is_aligned(a.x, 16);
  return a.M > 0 && a.M <= kMostRows && a.N > 0 && a.N <= kMostColumns && a.K > 0 && whole_packs &&
         is_one_of_two(a.w_dtype) && is_one_of_two(a.out_dtype) && is_one_of_two(a.b_dtype) &&
         (!makes_xa(a) || takes_few_rows(thin_of(a)));
}

bool takes_few_rows(std::span<const FewRows> products) {
  return !products.empty() && products.size() <= kMostFewRows &&
         std::ranges::all_of(products, [&](const FewRows& product) {
           return takes_few_rows(product) && are_alike(products[0], product);
         });
}

KernelStatus multiply_few_rows(Stream& stream, const FewRows& product) {
  return multiply_few_rows(stream, std::span(&product, 1));
}

KernelStatus multiply_few_rows(Stream& stream, std::span<const FewRows> products) {
  if (!takes_few_rows(products)) {
    return KernelStatus::unsupported("not a few rows of 16-byte packs");
  }
  std::array<FewRows, kMostFewRows> thin;
  std::size_t count = 0;
  for (const FewRows& product : products) {
    if (makes_xa(product)) thin[count++] = thin_of(product);
  }
  if (count > 0) {
    run_group(stream, std::span(thin).first(count), Begins::kAfterPrevious, true);
    run_group(stream, products, Begins::kWithPrevious, false);
  } else {
    run_group(stream, products, Begins::kAfterPrevious, false);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#pragma once

#include "backends/cuda/few_rows.hpp"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"

// What the kernels of few rows share: several products as one, and small operands of two dtypes.

namespace wick::cuda {

/// Threads of a block, all of which fetch and multiply.
inline constexpr int kFewRowsThreads = 256;
inline constexpr int kFewRowsWarps = kFewRowsThreads / kWarp;

/// Whether multiprocessors have room for 200 KiB of weights that are on their way: from Hopper on. Others have 99 KiB at least.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
inline constexpr bool kHasLargeRing = false;
#else
inline constexpr bool kHasLargeRing = true;
#endif

/// The products of a launch, one below the other: `rows` is Σ N. M, K and dtypes are the first one's.
struct FewRowsGroup {
  FewRows products[kMostFewRows];
  std::int64_t rows;
  int team;  ///< warps that share what they sum along K, a power of two
  /// Of one row. Where pieces of x aᵀ go; null where xa is there already.
  float* parts = nullptr;
  unsigned* counters = nullptr;  ///< two zeros, to be left as such
  unsigned* ticket = nullptr;    ///< another one, to draw rows from
  void* swiglu = nullptr;        ///< [N] of x's dtype, of the first two products' results, of one N
};

/// A row of a group: row n of one of its products.
struct FewRowsRow {
  int product = 0;
  std::int64_t n = 0;

  __device__ __forceinline__ FewRowsRow(const FewRowsGroup& group, std::int64_t row) : n(row) {
    while (n >= group.products[product].N) n -= group.products[product++].N;
  }
};

/// What a thread needs of the weights, step by step as it comes in: `Weights` starts the copies of one step after the other,
/// each into the place of the step before the one that is being summed. Steps, bytes of a step of all threads and how many may be
/// on their way (what else the multiprocessor loads queues behind them): those of the cut.
template <class Weights, class Cut>
class StepRing {
 public:
  __device__ StepRing(const Weights& weights, uint4* slots)
      : weights_(weights), slots_(slots + threadIdx.x) {
    for (int i = 0; i < Cut::kSteps - 1; ++i) {
      if (i >= Cut::kFirstSteps) wait_for_copies<Cut::kFirstSteps - 1>();
      fetch();
    }
  }

  /// The oldest step, until the next call: its pack i is at i times the threads of a block.
  __device__ __forceinline__ const uint4* take() {
    wait_for_copies<Cut::kSteps - 2>();
    const uint4* const slot = slots_ + taken_ * kStepSize;
    taken_ = next(taken_);
    if constexpr (Cut::kOnTheirWay < Cut::kSteps - 1) wait_for_copies<Cut::kOnTheirWay - 1>();
    fetch();
    return slot;
  }

 private:
  static constexpr int kStepSize = Cut::kStepBytes / 16;

  static __device__ __forceinline__ int next(int step) {
    return step + 1 == Cut::kSteps ? 0 : step + 1;
  }

  __device__ __forceinline__ void fetch() {
    weights_.copy(shared_address(slots_ + fetched_ * kStepSize));
    fetched_ = next(fetched_);
    commit_copies();
  }

  Weights weights_;
  uint4* slots_;
  int taken_ = 0;
  int fetched_ = 0;
};

/// The packs of w that a thread needs, row after row.
template <class W, class Cut>
class RowWeights {
 public:
  static constexpr int kVec = kPackSize<W>;
  static constexpr int kPacks = Cut::kStepPacks;

  /// Rows first, first + row_step, …; in each of them every `width`-th pack from `begin` on.
  __device__ RowWeights(const FewRowsGroup& group, std::int64_t first, int row_step, int begin,
                        int width)
      : group_(group),
        row_(first),
        row_step_(row_step),
        begin_(begin * kVec),
        width_(width * kVec) {
    seek();
  }

  /// Starts to copy the next step to a slot, if there is one.
  __device__ __forceinline__ void copy(unsigned slot) {
    const int K = static_cast<int>(group_.products[0].K);
    if (row_ >= group_.rows) return;
#pragma unroll
    for (int u = 0; u < kPacks; ++u) {
      const int k = k_ + u * width_;
      if (k < K) copy_async(slot + u * Cut::kThreads * 16, w_ + k, true);
    }
    k_ += kPacks * width_;
    // Every thread of a row takes as many steps of it.
    if (k_ - begin_ < K) return;
    row_ += row_step_;
    rows_left_ -= row_step_;
    w_ += std::int64_t{row_step_} * K;
    k_ = begin_;
    if (rows_left_ <= 0) seek();
  }

 private:
  __device__ __forceinline__ void seek() {
    k_ = begin_;
    if (row_ >= group_.rows) return;
    const FewRowsRow at(group_, row_);
    const FewRows& product = group_.products[at.product];
    rows_left_ = product.N - at.n;
    w_ = static_cast<const W*>(product.w) + at.n * group_.products[0].K;
  }

  const FewRowsGroup& group_;
  const W* w_ = nullptr;
  std::int64_t row_;
  std::int64_t rows_left_ = 0;  // of the product, from this one on
  int row_step_;
  int k_ = 0;
  int begin_, width_;
};

template <class W, class Cut>
using WeightSteps = StepRing<RowWeights<W, Cut>, Cut>;

template <class X>
__device__ __forceinline__ float small_element(const void* data, DType dtype, std::int64_t i) {
  return dtype == DType::kF32 ? static_cast<const float*>(data)[i]
                              : to_float(static_cast<const X*>(data)[i]);
}

template <class X>
__device__ __forceinline__ void store_small(void* data, DType dtype, std::int64_t i, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<X*>(data)[i] = from_float<X>(value);
  }
}

/// Enqueues a kernel that reads weights before the kernel in front of it is over, and all else after it. Large and Small: how it
/// is cut with and without a large ring. `items`: of its blocks.
template <class Large, class Small>
void launch_few_rows_kernel(Stream& stream, void (*kernel)(FewRowsGroup), std::int64_t items,
                            const FewRowsGroup& group) {
  constexpr int kHopper = 9;
  const bool large = backend_of_stream(stream).properties().major >= kHopper;
  const int shared_bytes = large ? Large::kSharedBytes : Small::kSharedBytes;
  const unsigned blocks = grid_of(stream, items, 1, Large::kBlocks);
  const auto dense = [](const void* data, std::int64_t elements, DType dtype) {
    return MemoryRange{data,
                       data == nullptr ? 0 : static_cast<std::size_t>(elements) * size_of(dtype)};
  };
  backend_of_stream(stream).make_current();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  MemoryRange written[kMostFewRows + 1];
  MemoryRange early[3 * kMostFewRows];
  for (std::size_t i = 0; i < kMostFewRows; ++i) {
    const FewRows& a = group.products[i];
    written[i] = dense(a.out, a.M * a.N, a.out_dtype);
    early[3 * i] = dense(a.w, a.N * a.K, a.w_dtype);
    early[3 * i + 1] = dense(a.b, a.N * a.R, a.b_dtype);
    early[3 * i + 2] = dense(a.bias, a.N, a.out_dtype);
  }
  const FewRows& first = group.products[0];
  written[kMostFewRows] = dense(group.swiglu, first.M * first.N, first.x_dtype);
  launch_overlapping(stream, kernel, blocks, Large::kThreads,
                     static_cast<std::size_t>(shared_bytes), {.written = written, .early = early},
                     group);
}

}  // namespace wick::cuda

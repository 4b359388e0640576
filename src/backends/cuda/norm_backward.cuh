#pragma once

#include <algorithm>
#include <array>

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/rows.cuh"
#include "backends/cuda/tensor_cores.cuh"

// rms_norm and layer_norm (kCentered) backward. With n = (x − mean) · inv and g = dy · weight:
// dx = inv (g − mean(g) − n · mean(g · n)), dweight = Σ dy · n and dbias = Σ dy over rows; without kCentered
// there is no mean and no bias.
//
// The gradients of rows and the sums over rows come from one pass: blocks stay on their multiprocessor, take
// rows in turn and keep the sums of their columns in registers; a second kernel adds the blocks' sums up in a
// fixed order. 16384 rows of 4096 in bf16 move 403 MB for dx and some 5 MB for the sums.

namespace wick::cuda {

/// dy [R,D] dense, x [R,D] rows `stride` apart, dx [R,D] dense or null; mean and inv [R]; the sums of each
/// block [blocks,D] or null.
template <class T>
struct NormBackward {
  const T* dy;
  const T* x;
  std::int64_t stride;
  Shared<T> weight;
  const float* mean;
  const float* inv;
  T* dx;
  float* weight_sums;
  float* bias_sums;
  std::int64_t R;
  std::int64_t D;
  const T* dsum = nullptr;  ///< [R,D] dense or null: is added to dx
};

inline constexpr int kSumRowThreads = 512;

/// Of each operand. Two sums of a column beside 16 values of f32 do not fit in the registers.
template <bool kCentered, class T>
inline constexpr int kMostSumValues = kCentered && sizeof(T) == sizeof(float) ? 8 : 16;

/// A thread's packs of dy and x, row after row. Those of two rows to come are on their way to shared memory; each thread reads
/// what it copied itself, so that none waits for another. The last rows come first: they were written, or read, last, and
/// some of them are in the L2 cache.
template <bool kCentered, int kPacks, int kVec, class T>
class NormRowRing {
 public:
  static constexpr int kRows = 3;      ///< in shared memory
  static constexpr int kOperands = 2;  ///< dy and x
  using RowPlace = Place<kPacks * kVec, kVec>;

  /// Of rows first, first + step, … from the end; `slots` has kRows · kOperands · kPacks of each thread.
  __device__ __forceinline__ NormRowRing(const NormBackward<T>& a, uint4* slots, std::int64_t first,
                                         std::int64_t step)
      : a_(a),
        slots_(slots + threadIdx.y * blockDim.x + threadIdx.x),
        threads_(static_cast<int>(blockDim.x * blockDim.y)),
        next_(first),
        step_(step) {
    for (int i = 0; i < kRows - 1; ++i) fetch(i, next_ + i * step);
    load_numbers();
  }

  /// The next row is there, and the row after those to come sets out for the place of the one before.
  __device__ __forceinline__ RowPlace take() {
    wait_for_copies<kRows - 2>();
    const std::int64_t row = next_;
    inv_ = next_inv_;
    mean_ = next_mean_;
    slot_ = slot_ + 1 == kRows ? 0 : slot_ + 1;
    const int before = slot_ == 0 ? kRows - 1 : slot_ - 1;
    fetch(before, row + (kRows - 1) * step_);
    next_ += step_;
    load_numbers();
    return place_of(row);
  }

  __device__ __forceinline__ Raw<kVec, T> dy(int pack) const { return at(0, pack); }
  __device__ __forceinline__ Raw<kVec, T> x(int pack) const { return at(1, pack); }
  __device__ __forceinline__ float inv() const { return inv_; }
  __device__ __forceinline__ float mean() const { return mean_; }

 private:
  __device__ __forceinline__ RowPlace place_of(std::int64_t row) const {
    return RowPlace(row < a_.R ? a_.R - 1 - row : a_.R, a_.R, static_cast<int>(a_.D));
  }
  __device__ __forceinline__ uint4* slot(int row, int operand, int pack) const {
    return slots_ + ((row * kOperands + operand) * kPacks + pack) * threads_;
  }
  __device__ __forceinline__ Raw<kVec, T> at(int operand, int pack) const {
    return __builtin_bit_cast(Raw<kVec, T>, *slot(slot_, operand, pack));
  }
  __device__ __forceinline__ void fetch(int to, std::int64_t row) const {
    const RowPlace place = place_of(row);
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (!place.has(i)) continue;
      copy_async(shared_address(slot(to, 0, i)), a_.dy + place.row * a_.D + place.column(i), true);
      copy_async(shared_address(slot(to, 1, i)), a_.x + place.row * a_.stride + place.column(i),
                 true);
    }
    commit_copies();
  }
  // Of the next row, while this one is computed.
  __device__ __forceinline__ void load_numbers() {
    const RowPlace place = place_of(next_);
    next_inv_ = place.columns > 0 ? a_.inv[place.row] : 0.0F;
    if constexpr (kCentered) next_mean_ = place.columns > 0 ? a_.mean[place.row] : 0.0F;
  }

  const NormBackward<T>& a_;
  uint4* slots_;
  int threads_;
  int slot_ = kRows - 1;
  std::int64_t next_;
  std::int64_t step_;
  float inv_ = 0, next_inv_ = 0;
  float mean_ = 0, next_mean_ = 0;
};

/// Writes a thread's sums over its rows as row blockIdx.x of `sums`; the groups of a block are added up first.
/// `room` holds a row for each group where there are several.
template <int kValues, int kVec>
__device__ __forceinline__ void write_block_sums(const float (&values)[kValues], int D, float* room,
                                                 float* sums) {
  const Place<kValues, kVec> place(0, 1, D);
  float* const row = sums + static_cast<std::int64_t>(blockIdx.x) * D;
  if (blockDim.y == 1) {
    store_row(row, place, values);
    return;
  }
  __syncthreads();  // the last use of the room is over
  store_row(room + threadIdx.y * D, place, values);
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y);
  for (int d = thread; d < D; d += threads) {
    float sum = 0;
    for (int y = 0; y < static_cast<int>(blockDim.y); ++y) sum += room[y * D + d];
    row[d] = sum;
  }
}

template <bool kCentered, bool kSums, int kValues, int kVec, class T>
__global__ void __launch_bounds__(kSumRowThreads) norm_backward_rows(NormBackward<T> a) {
  constexpr int kPacks = kValues / kVec;
  extern __shared__ uint4 slots[];
  __shared__ ReduceRoom<2> rooms[2];
  hopper::overlap();
  const int D = static_cast<int>(a.D);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.y;
  const Place<kValues, kVec> columns(0, 1, D);
  float weight[kValues] = {};
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (columns.has(i)) a.weight.template load<kVec>(columns.column(i), weight, i * kVec);
  }
  float weight_sum[kSums ? kValues : 1] = {};
  float bias_sum[kSums && kCentered ? kValues : 1] = {};

  using Ring = NormRowRing<kCentered, kPacks, kVec, T>;
  Ring ring(a, slots, row_of_grid(), step);
  int turn = 0;
  // All groups of a block take the same number of turns, the last perhaps without a row.
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * blockDim.y; first < a.R;
       first += step, turn ^= 1) {
    const typename Ring::RowPlace place = ring.take();
    Raw<kVec, T> dsum[kCentered ? 1 : kPacks];
    const bool adds = !kCentered && a.dsum != nullptr;
    if constexpr (!kCentered) {
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        if (adds && place.has(i)) {
          dsum[i] = load_raw<kVec>(a.dsum + place.row * a.D + place.column(i));
        }
      }
    }
    float totals[2] = {0, 0};  // of g · n and of g
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (!place.has(i)) continue;
      const Raw<kVec, T> dy_pack = ring.dy(i);
      const Raw<kVec, T> x_pack = ring.x(i);
#pragma unroll
      for (int j = 0; j < kVec; ++j) {
        const int k = i * kVec + j;
        const float dy = dy_pack.get(j);
        const float normed = (x_pack.get(j) - ring.mean()) * ring.inv();
        const float g = dy * weight[k];
        totals[0] = fmaf(g, normed, totals[0]);
        totals[1] += g;
        if constexpr (kSums) weight_sum[k] = fmaf(dy, normed, weight_sum[k]);
        if constexpr (kSums && kCentered) bias_sum[k] += dy;
      }
    }
    if (a.dx == nullptr) continue;
    float mean_gn = 0;
    float mean_g = 0;
    if constexpr (kCentered) {
      row_reduce<RowSum>(totals, rooms[turn]);
      mean_g = totals[1] / static_cast<float>(D);
      mean_gn = totals[0] / static_cast<float>(D);
    } else {
      float total[1] = {totals[0]};
      // SAFETY: the first half of a room for two is a room for one.
      row_reduce<RowSum>(total, reinterpret_cast<ReduceRoom<1>&>(rooms[turn]));
      mean_gn = total[0] / static_cast<float>(D);
    }
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (!place.has(i)) continue;
      const Raw<kVec, T> dy_pack = ring.dy(i);
      const Raw<kVec, T> x_pack = ring.x(i);
      float dx[kVec];
#pragma unroll
      for (int j = 0; j < kVec; ++j) {
        const float normed = (x_pack.get(j) - ring.mean()) * ring.inv();
        const float g = dy_pack.get(j) * weight[i * kVec + j];
        dx[j] = ring.inv() * fmaf(-normed, mean_gn, g - mean_g);
        if constexpr (!kCentered) dx[j] += adds ? dsum[i].get(j) : 0.0F;
      }
      store_values<kVec>(a.dx + place.row * a.D + place.column(i), dx);
    }
  }
  if constexpr (kSums) {
    // SAFETY: the rows' slots are free now; what they hold next are floats.
    float* const room = reinterpret_cast<float*>(slots);
    if (a.weight_sums != nullptr) {
      write_block_sums<kValues, kVec>(weight_sum, D, room, a.weight_sums);
    }
    if constexpr (kCentered) {
      if (a.bias_sums != nullptr) write_block_sums<kValues, kVec>(bias_sum, D, room, a.bias_sums);
    }
  }
}

// ---- Long or unaligned rows: dx by rows, the sums by columns ----------------------------------------

template <bool kCentered, class T>
__device__ __forceinline__ float normed_of(const NormBackward<T>& a, std::int64_t row, T x) {
  const float mean = kCentered ? a.mean[row] : 0.0F;
  return (to_float(x) - mean) * a.inv[row];
}

template <bool kCentered, int kVec, class T>
__global__ void __launch_bounds__(kLongRowThreads) norm_backward_long_rows(NormBackward<T> a) {
  __shared__ ReduceRoom<2> room;
  const std::int64_t row = blockIdx.x;
  const T* const dy = a.dy + row * a.D;
  const T* const x = a.x + row * a.stride;
  const float inv = a.inv[row];
  const float mean = kCentered ? a.mean[row] : 0.0F;
  float totals[2] = {0, 0};
  const auto take = [&](std::int64_t column, const Raw<kVec, T>& dy_pack,
                        const Raw<kVec, T>& x_pack) {
    float weight[kVec];
    a.weight.template load<kVec>(static_cast<int>(column), weight);
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      const float g = dy_pack.get(i) * weight[i];
      totals[0] = fmaf(g, (x_pack.get(i) - mean) * inv, totals[0]);
      totals[1] += g;
    }
  };
  for_each_pack<kVec>(dy, x, a.D, take);
  row_reduce<RowSum>(totals, room);
  const float mean_gn = totals[0] / static_cast<float>(a.D);
  const float mean_g = kCentered ? totals[1] / static_cast<float>(a.D) : 0.0F;
  const auto put = [&](std::int64_t column, const Raw<kVec, T>& dy_pack,
                       const Raw<kVec, T>& x_pack) {
    float weight[kVec];
    float dx[kVec];
    a.weight.template load<kVec>(static_cast<int>(column), weight);
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      const float g = dy_pack.get(i) * weight[i];
      const float normed = (x_pack.get(i) - mean) * inv;
      dx[i] = inv * fmaf(-normed, mean_gn, g - mean_g);
      if (a.dsum != nullptr) dx[i] += to_float(a.dsum[row * a.D + column + i]);
    }
    store_values<kVec>(a.dx + row * a.D + column, dx);
  };
  for_each_pack<kVec>(dy, x, a.D, put);
}

// A thread's column of the rows blockIdx.y, blockIdx.y + gridDim.y, ...: row blockIdx.y of the sums.
template <bool kCentered, class T>
__global__ void __launch_bounds__(256) norm_column_sums(NormBackward<T> a) {
  const std::int64_t d = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (d >= a.D) return;
  float weight_sum = 0;
  float bias_sum = 0;
#pragma unroll 4
  for (std::int64_t r = blockIdx.y; r < a.R; r += gridDim.y) {
    const float dy = to_float(a.dy[r * a.D + d]);
    weight_sum = fmaf(dy, normed_of<kCentered>(a, r, a.x[r * a.stride + d]), weight_sum);
    bias_sum += dy;
  }
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * a.D + d;
  if (a.weight_sums != nullptr) a.weight_sums[at] = weight_sum;
  if (kCentered && a.bias_sums != nullptr) a.bias_sums[at] = bias_sum;
}

/// out[d] = Σ over the rows of sums [count,D], in a fixed order. A block of 32 × 32 threads has 32 columns.
template <class T>
__global__ void __launch_bounds__(kWarp* kWarp)
    add_block_sums(const float* sums, std::int64_t count, std::int64_t D, T* out) {
  __shared__ float parts[kWarp][kWarp + 1];
  hopper::overlap();
  const std::int64_t d = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  float sum = 0;
  if (d < D) {
#pragma unroll 8
    for (std::int64_t k = threadIdx.y; k < count; k += kWarp) sum += sums[k * D + d];
  }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  const float total = warp_reduce<Sum>(parts[threadIdx.x][threadIdx.y]);
  const std::int64_t own = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.y;
  if (threadIdx.x == 0 && own < D) out[own] = from_float<T>(total);
}

// ---- Launches -----------------------------------------------------------------------------------

/// Room for the sums of `count` blocks and the kernel that adds them up. `out` may be absent.
class BlockSums {
 public:
  BlockSums(Stream& stream, const TensorView& out, std::int64_t count)
      : stream_(stream),
        out_(out),
        count_(count),
        scratch_(stream, out ? static_cast<std::size_t>(count * out.numel()) * sizeof(float) : 0) {}

  float* data() const { return out_ ? scratch_.as<float>() : nullptr; }
  MemoryRange range() const {
    return {data(), out_ ? static_cast<std::size_t>(count_ * out_.numel()) * sizeof(float) : 0};
  }

  void add_up() const {
    const std::int64_t D = out_ ? out_.numel() : 0;
    if (D == 0) return;
    switch_floating(out_.dtype, [&]<class T>(std::type_identity<T>) {
      const std::array<MemoryRange, 1> written{range_of(out_)};
      launch_overlapping(stream_, add_block_sums<T>,
                         dim3(static_cast<unsigned>(ceil_div(D, kWarp))), dim3(kWarp, kWarp), 0,
                         {.written = written}, data(), count_, D, data_of<T>(out_));
    });
  }

 private:
  Stream& stream_;
  const TensorView& out_;
  std::int64_t count_;
  Scratch scratch_;
};

/// Shared memory of a block: the rows to come, and after them a row of sums for each group where there are several.
template <bool kCentered, int kValues, class T>
std::size_t ring_bytes(dim3 block, std::int64_t D) {
  constexpr int kPacks = kValues / kPackSize<T>;
  using Ring = NormRowRing<kCentered, kPacks, kPackSize<T>, T>;
  const std::size_t slots = std::size_t{Ring::kRows} * Ring::kOperands * kPacks;
  const std::size_t sums = block.y > 1 ? block.y * static_cast<std::size_t>(D) * sizeof(float) : 0;
  return std::max(slots * block.x * block.y * sizeof(uint4), sums);
}

/// Blocks that all run at once, none without a row.
template <class T>
dim3 standing_grid(Stream& stream, void (*kernel)(NormBackward<T>), const RowPlan& plan,
                   std::size_t shared_bytes) {
  CudaBackend& backend = backend_of_stream(stream);
  backend.make_current();
  int per_multiprocessor = 0;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes)),
        "cudaFuncSetAttribute");
  check(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &per_multiprocessor, kernel, static_cast<int>(plan.block.x * plan.block.y), shared_bytes),
      "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  const int most = std::max(1, per_multiprocessor) * backend.properties().multiProcessorCount;
  return dim3(std::min(plan.grid.x, static_cast<unsigned>(most)));
}

template <bool kCentered, bool kSums, class T>
void norm_backward_in_registers(Stream& stream, NormBackward<T> a, const RowPlan& plan,
                                const TensorView& dweight, const TensorView& dbias) {
  const auto run = [&]<int kValues>(Int<kValues>) {
    auto* const kernel = norm_backward_rows<kCentered, kSums, kValues, kPackSize<T>, T>;
    const std::size_t shared = ring_bytes<kCentered, kValues, T>(plan.block, a.D);
    const dim3 grid = standing_grid(stream, kernel, plan, shared);
    const BlockSums weight_sums(stream, dweight, grid.x);
    const BlockSums bias_sums(stream, dbias, grid.x);
    a.weight_sums = weight_sums.data();
    a.bias_sums = bias_sums.data();
    const std::size_t bytes = static_cast<std::size_t>(a.R * a.D) * sizeof(T);
    const std::array<MemoryRange, 3> written{
        {{a.dx, a.dx == nullptr ? 0 : bytes}, weight_sums.range(), bias_sums.range()}};
    launch_overlapping(stream, kernel, grid, plan.block, shared, {.written = written}, a);
    weight_sums.add_up();
    bias_sums.add_up();
  };
  if (plan.values == kFewValues) return run(Int<kFewValues>{});
  return run(Int<kMostSumValues<kCentered, T>>{});
}

template <bool kCentered, class T>
void norm_backward_by_rows_and_columns(Stream& stream, NormBackward<T> a, bool wide,
                                       const TensorView& dweight, const TensorView& dbias) {
  if (a.dx != nullptr) {
    const dim3 rows(static_cast<unsigned>(a.R));
    if (wide) {
      launch_on(stream, norm_backward_long_rows<kCentered, kPackSize<T>, T>, rows,
                dim3(kLongRowThreads), 0, a);
    } else {
      const std::int64_t warps = std::min<std::int64_t>(ceil_div(a.D, 4 * kWarp), 16);
      launch_on(stream, norm_backward_long_rows<kCentered, 1, T>, rows,
                dim3(static_cast<unsigned>(warps * kWarp)), 0, a);
    }
  }
  if (!dweight && !dbias) return;
  constexpr std::int64_t kThreads = 64;
  const std::int64_t columns = ceil_div(a.D, kThreads);
  const std::int64_t chunks =
      std::min<std::int64_t>(ceil_div(a.R, 16), ceil_div(grid_of(stream, a.R, 1, 32), columns));
  const BlockSums weight_sums(stream, dweight, chunks);
  const BlockSums bias_sums(stream, dbias, chunks);
  a.weight_sums = weight_sums.data();
  a.bias_sums = bias_sums.data();
  launch_on(stream, norm_column_sums<kCentered, T>,
            dim3(static_cast<unsigned>(columns), static_cast<unsigned>(chunks)), dim3(kThreads), 0,
            a);
  weight_sums.add_up();
  bias_sums.add_up();
}

template <bool kCentered, class T>
void launch_norm_backward(Stream& stream, const NormBackward<T>& a, const TensorView& dweight,
                          const TensorView& dbias) {
  if (a.R == 0 || a.D == 0) {  // sums over no rows are zeros
    BlockSums(stream, dweight, 0).add_up();
    BlockSums(stream, dbias, 0).add_up();
    return;
  }
  const bool wide = a.D % kPackSize<T> == 0 && is_aligned(a.dy, 16) && is_aligned(a.dx, 16) &&
                    is_aligned(a.dsum, 16) && rows_aligned(a.x, sizeof(T), a.stride, a.R) &&
                    a.weight.aligned();
  const RowPlan plan =
      plan_rows(stream, a.R, a.D, wide, kMostSumValues<kCentered, T>, kSumRowThreads);
  const std::size_t shared =
      ring_bytes<kCentered, kMostSumValues<kCentered, T>, T>(plan.block, a.D);
  if (!wide || plan.values == 0 ||
      shared > backend_of_stream(stream).properties().sharedMemPerBlockOptin) {
    norm_backward_by_rows_and_columns<kCentered>(stream, a, wide, dweight, dbias);
  } else if (dweight || dbias) {
    norm_backward_in_registers<kCentered, true>(stream, a, plan, dweight, dbias);
  } else {
    norm_backward_in_registers<kCentered, false>(stream, a, plan, dweight, dbias);
  }
}

}  // namespace wick::cuda

#include "backends/cuda/hopper_lora.hpp"

#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"
#include "backends/cuda/tensor_map.hpp"
#include "backends/cuda/wgmma.cuh"

// Two blocks of a cluster make neighbouring tiles of out, one below the other, and share the tiles of w. In each block one
// warpgroup produces: a thread tells the copy engine what to fetch, the other three warps round t and s. Two warpgroups
// consume: 64 rows each of x w and of p = x t; where K ends, p becomes the left operand of p s, straight from registers.

namespace wick::cuda {

namespace {

using hopper::Barrier;
using hopper::MatrixDescriptor;

constexpr int kCluster = 2;
constexpr int kConsumers = 2;  // warpgroups
constexpr int kGroupThreads = 128;
constexpr int kThreads = (1 + kConsumers) * kGroupThreads;
[[maybe_unused]] constexpr int kRoundingWarps = 3;
constexpr int kTileM = 64 * kConsumers;
constexpr int kTileK = 64;
constexpr int kRowBytes = kTileK * 2;
[[maybe_unused]] constexpr int kBlockBytes = 128;  // of 8 by 8 elements
constexpr std::int64_t kFewestRows = 128;

struct HopperCall {
  HopperLora p;
  int m_pairs;  // tiles of the cluster along M
  int tiles;    // of the cluster, along M first
  int k_tiles;
};

template <int kN, int kR>
struct HopperShared {
  static constexpr int kStages = kN == 256 ? 4 : 6;
  static constexpr int kX = kTileM * kRowBytes;
  static constexpr int kW = kN * kRowBytes;
  static constexpr int kT = kR * kRowBytes;
  static constexpr int kS = kN * kR * 2;
  static constexpr int kAlignment = 1024;
  static constexpr int kBytes = kAlignment + kStages * (kX + kW + kT) + kS + (2 * kStages + 2) * 8;

  unsigned base;
  __device__ __forceinline__ unsigned x(int stage) const { return base + stage * (kX + kW); }
  __device__ __forceinline__ unsigned w(int stage) const { return x(stage) + kX; }
  __device__ __forceinline__ unsigned t(int stage) const { return x(kStages) + stage * kT; }
  __device__ __forceinline__ unsigned s() const { return t(kStages); }
  __device__ __forceinline__ Barrier full(int stage) const { return {s() + kS + stage * 8}; }
  __device__ __forceinline__ Barrier empty(int stage) const { return full(kStages + stage); }
  __device__ __forceinline__ Barrier s_full() const { return full(2 * kStages); }
  __device__ __forceinline__ Barrier s_empty() const { return full(2 * kStages + 1); }
};

// Goes through the stages again and again; `parity` says which time.
template <int kStages>
struct Ring {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// ---- The producing warpgroup --------------------------------------------------------------------

template <int kN, int kR, bool kAcrossK>
__device__ __forceinline__ void fetch_tiles(const HopperCall& call,
                                            const HopperShared<kN, kR>& shared,
                                            const CUtensorMap& x_map, const CUtensorMap& w_map) {
  using Shared = HopperShared<kN, kR>;
  constexpr unsigned short kBoth = 3;
  const int rank = static_cast<int>(hopper::cluster_rank());
  Ring<Shared::kStages> ring;
  for (int tile = blockIdx.x / kCluster; tile < call.tiles; tile += gridDim.x / kCluster) {
    const int row = (tile % call.m_pairs * kCluster + rank) * kTileM;
    const int column = tile / call.m_pairs * kN;
    for (int k = 0; k < call.k_tiles; ++k, ring.next()) {
      shared.empty(ring.stage).wait(ring.parity ^ 1);
      const Barrier full = shared.full(ring.stage);
      full.arrive_and_expect(Shared::kX + Shared::kW);
      hopper::copy_box(shared.x(ring.stage), x_map, k * kTileK, row, full);
      if constexpr (kAcrossK) {
#pragma unroll
        for (int i = 0; i < kN / 64 / kCluster; ++i) {
          const int box = rank * (kN / 64 / kCluster) + i;
          hopper::copy_box_to(kBoth, shared.w(ring.stage) + box * kTileK * kRowBytes, w_map,
                              column + box * 64, k * kTileK, full);
        }
      } else {
        const int first = rank * (kN / kCluster);
        hopper::copy_box_to(kBoth, shared.w(ring.stage) + first * kRowBytes, w_map, k * kTileK,
                            column + first, full);
      }
    }
  }
}

// Eight elements `step` apart, of which `count` exist, as two by two 16-bit numbers.
template <class T, class Source>
__device__ __forceinline__ void load_eight(const Source* from, std::int64_t step, int count,
                                           unsigned (&packed)[4]) {
  float values[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = i < count ? to_float(from[i * step]) : 0.0F;
#pragma unroll
  for (int i = 0; i < 4; ++i) packed[i] = pack_two<T>(values[2 * i], values[2 * i + 1]);
}

template <class T>
__device__ __forceinline__ void round_eight(const Matrix& m, std::int64_t at, std::int64_t step,
                                            int count, unsigned to) {
  unsigned packed[4];
  if (m.dtype == DType::kF32) {
    load_eight<T>(static_cast<const float*>(m.data) + at, step, count, packed);
  } else {
    load_eight<T>(static_cast<const T*>(m.data) + at, step, count, packed);
  }
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(packed[0]), "r"(packed[1]),
               "r"(packed[2]), "r"(packed[3])
               : "memory");
}

// t [64, R] from row k on, as blocks of eight ranks by eight k.
template <class T, int kR>
__device__ __forceinline__ void round_t(const HopperLora& p, int k, int thread, unsigned to) {
  const bool along_k = p.t.row_stride == 1;
#pragma unroll
  for (int i = 0; i < kR * 8; i += kRoundingWarps * kWarp) {
    const int unit = i + thread;
    if (unit >= kR * 8) break;
    const int r = along_k ? unit / 8 : unit % kR;
    const int k8 = along_k ? unit % 8 : unit / kR;
    const int count = r < p.R ? static_cast<int>(p.K) - (k + 8 * k8) : 0;
    round_eight<T>(p.t, (k + 8 * k8) * p.t.row_stride + r * p.t.column_stride, p.t.row_stride, count,
                   to + (k8 * (kR / 8) + r / 8) * kBlockBytes + r % 8 * 16);
  }
}

// s [R, kN] from a column on, as blocks of eight columns by eight ranks.
template <class T, int kN, int kR>
__device__ __forceinline__ void round_s(const HopperLora& p, int column, int thread, unsigned to) {
  for (int unit = thread; unit < kN * kR / 8; unit += kRoundingWarps * kWarp) {
    const bool along_rank = p.s.row_stride == 1;
    const int n = along_rank ? unit / (kR / 8) : unit % kN;
    const int r8 = along_rank ? unit % (kR / 8) : unit / kN;
    const int count = column + n < p.N ? static_cast<int>(p.R) - 8 * r8 : 0;
    round_eight<T>(p.s, 8 * r8 * p.s.row_stride + (column + n) * p.s.column_stride, p.s.row_stride,
                   count,
                   to + r8 / 2 * (kN * 32) + (n / 8 * 2 + r8 % 2) * kBlockBytes + n % 8 * 16);
  }
}

template <class T, int kN, int kR>
__device__ __forceinline__ void round_adapter(const HopperCall& call,
                                              const HopperShared<kN, kR>& shared) {
  using Shared = HopperShared<kN, kR>;
  const int thread = static_cast<int>(threadIdx.x) - kWarp;
  const bool speaks = threadIdx.x % kWarp == 0;
  Ring<Shared::kStages> ring;
  unsigned s_parity = 0;
  for (int tile = blockIdx.x / kCluster; tile < call.tiles; tile += gridDim.x / kCluster) {
    // Late enough that the tile before has let go of s, so that nothing waits for it.
    const int k_of_s = min(Shared::kStages, call.k_tiles - 1);
    for (int k = 0; k < call.k_tiles; ++k, ring.next()) {
      shared.empty(ring.stage).wait(ring.parity ^ 1);
      round_t<T, kR>(call.p, k * kTileK, thread, shared.t(ring.stage));
      hopper::publish_stores();
      __syncwarp();
      if (speaks) shared.full(ring.stage).arrive();
      if (k != k_of_s) continue;
      shared.s_empty().wait(s_parity ^ 1);
      round_s<T, kN, kR>(call.p, tile / call.m_pairs * kN, thread, shared.s());
      hopper::publish_stores();
      __syncwarp();
      if (speaks) shared.s_full().arrive();
      s_parity ^= 1;
    }
  }
}

// ---- The consuming warpgroups -------------------------------------------------------------------

// Keeps reads of the sums behind the wait before.
template <int kCount>
__device__ __forceinline__ void fence(float (&sum)[kCount][4]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sum[n][i])::"memory");
  }
}

// Lane t of four gives its v[i] to lane i and has then v[t] of each: sixteen bytes of one row.
__device__ __forceinline__ void transpose_quad(unsigned (&v)[4]) {
  const bool odd = threadIdx.x % 2 != 0;
  const bool upper = threadIdx.x % 4 >= 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const unsigned got = __shfl_xor_sync(kAllLanes, odd ? v[i] : v[i + 1], 1);
    v[i] = odd ? got : v[i];
    v[i + 1] = odd ? v[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const unsigned got = __shfl_xor_sync(kAllLanes, upper ? v[i] : v[i + 2], 2);
    v[i] = upper ? got : v[i];
    v[i + 2] = upper ? v[i + 2] : got;
  }
}

template <class T, int kN>
__device__ __forceinline__ void store_tile(const HopperLora& p, const float (&sum)[kN / 8][4],
                                           std::int64_t row, int column) {
  const int t = threadIdx.x % 4;
  T* const out = static_cast<T*>(p.out);
  const T* const bias = static_cast<const T*>(p.bias);
#pragma unroll
  for (int n = 0; n < kN / 8; n += 4) {
    float add[4][2] = {};
    if (bias != nullptr) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int c = column + (n + j) * 8 + 2 * t;
        if (c >= p.N) continue;
        add[j][0] = to_float(bias[c]);
        add[j][1] = to_float(bias[c + 1]);
      }
    }
#pragma unroll
    for (int half_row = 0; half_row < 2; ++half_row) {
      unsigned v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[j] = pack_two<T>(sum[n + j][2 * half_row] + add[j][0],
                           sum[n + j][2 * half_row + 1] + add[j][1]);
      }
      transpose_quad(v);
      const std::int64_t at = row + 8 * half_row;
      const int c = column + (n + t) * 8;
      if (at >= p.M || c >= p.N) continue;
      // SAFETY: rows of out are made of 16 bytes and begin at multiples of them.
      *reinterpret_cast<uint4*>(out + at * p.N + c) = make_uint4(v[0], v[1], v[2], v[3]);
    }
  }
}

template <class T, int kR>
__device__ __forceinline__ void store_p(const HopperLora& p, const float (&sum)[kR / 8][4],
                                        std::int64_t row) {
#pragma unroll
  for (int n = 0; n < kR / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t at = row + i / 2 * 8;
      const int r = n * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
      if (at >= p.M || r >= p.R) continue;
      if (p.p_f32 != nullptr) p.p_f32[at * p.R + r] = sum[n][i];
      if (p.p != nullptr) static_cast<T*>(p.p)[at * p.R + r] = from_float<T>(sum[n][i]);
    }
  }
}

template <class T, int kN, int kR, bool kAcrossK>
__device__ __forceinline__ void consume(const HopperCall& call, const HopperShared<kN, kR>& shared) {
  using Shared = HopperShared<kN, kR>;
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads - 1;
  const int thread = threadIdx.x % kGroupThreads;
  const auto release = [&](int stage) {
    if (thread < kCluster) shared.empty(stage).arrive_at(thread);
  };
  Ring<Shared::kStages> ring;
  unsigned s_parity = 0;
  float sum[kN / 8][4];
  float p_sum[kR / 8][4];
  for (int tile = blockIdx.x / kCluster; tile < call.tiles; tile += gridDim.x / kCluster) {
    int before = 0;
    for (int k = 0; k < call.k_tiles; ++k, ring.next()) {
      shared.full(ring.stage).wait(ring.parity);
      const auto x = MatrixDescriptor::along_k(shared.x(ring.stage) + group * 64 * kRowBytes);
      const auto w = kAcrossK
                         ? MatrixDescriptor::across_k(shared.w(ring.stage), kTileK * kRowBytes)
                         : MatrixDescriptor::along_k(shared.w(ring.stage));
      constexpr int kTBlocks = kR / 8 * kBlockBytes;
      const auto t = MatrixDescriptor::of_blocks(shared.t(ring.stage), kTBlocks, kBlockBytes);
      hopper::begin_products();
#pragma unroll
      for (int i = 0; i < kTileK / 16; ++i) {
        const bool adds = k > 0 || i > 0;
        hopper::Products<T, kN, kAcrossK>::add(
            sum, x.plus(32 * i), w.plus(kAcrossK ? 16 * kRowBytes * i : 32 * i), adds);
        hopper::Products<T, kR, false>::add(p_sum, x.plus(32 * i), t.plus(2 * kTBlocks * i), adds);
      }
      hopper::commit_products();
      hopper::wait_for_products<1>();
      if (k > 0) release(before);
      before = ring.stage;
    }
    hopper::wait_for_products<0>();
    fence(sum);
    fence(p_sum);
    release(before);

    const std::int64_t row =
        (std::int64_t{tile % call.m_pairs} * kCluster + hopper::cluster_rank()) * kTileM + group * 64 +
        thread / kWarp * 16 + thread % kWarp / 4;
    const int column = tile / call.m_pairs * kN;
    shared.s_full().wait(s_parity);
    s_parity ^= 1;
    unsigned p[kR / 16][4];
#pragma unroll
    for (int c = 0; c < kR / 16; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&from)[4] = p_sum[2 * c + i / 2];
        p[c][i] = pack_two<T>(from[i % 2 * 2] * call.p.scale, from[i % 2 * 2 + 1] * call.p.scale);
      }
    }
    hopper::begin_products();
#pragma unroll
    for (int c = 0; c < kR / 16; ++c) {
      hopper::RegisterProducts<T, kN>::add(
          sum, p[c], MatrixDescriptor::of_blocks(shared.s() + c * kN * 32, kBlockBytes, 2 * kBlockBytes));
    }
    hopper::commit_products();
    if (column == 0) store_p<T, kR>(call.p, p_sum, row);
    hopper::wait_for_products<0>();
    fence(sum);
    if (thread == 0) shared.s_empty().arrive();
    store_tile<T, kN>(call.p, sum, row, column);
  }
}

#endif

template <class T, int kN, int kR, bool kAcrossK>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    hopper_lora_kernel(const __grid_constant__ CUtensorMap x_map,
                       const __grid_constant__ CUtensorMap w_map, const HopperCall call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shared = HopperShared<kN, kR>;
  extern __shared__ unsigned char memory[];
  const unsigned unaligned = shared_address(memory);
  const Shared shared{(unaligned + Shared::kAlignment - 1) / Shared::kAlignment * Shared::kAlignment};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Shared::kStages; ++stage) {
      shared.full(stage).init(1 + kRoundingWarps);
      shared.empty(stage).init(kCluster * kConsumers);
    }
    shared.s_full().init(kRoundingWarps);
    shared.s_empty().init(kConsumers);
    hopper::publish_barriers();
  }
  hopper::meet_cluster();
  if (threadIdx.x < kGroupThreads) {
    hopper::give_registers<56>();
    if (threadIdx.x == 0) {
      fetch_tiles<kN, kR, kAcrossK>(call, shared, x_map, w_map);
    } else if (threadIdx.x >= kWarp) {
      round_adapter<T, kN, kR>(call, shared);
    }
  } else {
    hopper::take_registers<224>();
    consume<T, kN, kR, kAcrossK>(call, shared);
  }
  // A block must not end while the other one still sends to its memory.
  hopper::meet_cluster();
#endif
}

// ---- Launches -----------------------------------------------------------------------------------

template <class T, int kN, int kR, bool kAcrossK>
void launch_hopper_lora(Stream& stream, const HopperLora& p) {
  using Shared = HopperShared<kN, kR>;
  const CUtensorMap x_map = tensor_map(p.dtype, p.x.data, p.M, p.K, p.x.row_stride, kTileM);
  const CUtensorMap w_map =
      kAcrossK ? tensor_map(p.dtype, p.w.data, p.K, p.N, p.w.row_stride, kTileK)
               : tensor_map(p.dtype, p.w.data, p.N, p.K, p.w.column_stride, kN / kCluster);
  HopperCall call{.p = p};
  call.m_pairs = static_cast<int>(ceil_div(p.M, kTileM * kCluster));
  call.tiles = call.m_pairs * static_cast<int>(ceil_div(p.N, kN));
  call.k_tiles = static_cast<int>(ceil_div(p.K, kTileK));
  const int clusters = std::min(
      call.tiles, backend_of_stream(stream).properties().multiProcessorCount / kCluster);
  const auto kernel = &hopper_lora_kernel<T, kN, kR, kAcrossK>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shared::kBytes),
        "cudaFuncSetAttribute");
  launch_on(stream, kernel, static_cast<unsigned>(clusters * kCluster), kThreads, Shared::kBytes,
            x_map, w_map, call);
}

// Waves of tiles over the chip, each as long as its tile is wide: wide tiles read less, narrow ones fit better.
bool prefers_narrow(std::int64_t M, std::int64_t N, int multiprocessors) {
  const std::int64_t clusters = multiprocessors / kCluster;
  const std::int64_t pairs = ceil_div(M, kTileM * kCluster);
  const auto cost = [&](std::int64_t width, double slowness) {
    return static_cast<double>(ceil_div(pairs * ceil_div(N, width), clusters) * width) * slowness;
  };
  return cost(128, 1.15) < cost(256, 1.0);
}

template <class T>
void switch_shapes(Stream& stream, const HopperLora& p) {
  const bool narrow =
      prefers_narrow(p.M, p.N, backend_of_stream(stream).properties().multiProcessorCount);
  const bool across = p.w.row_stride != 1;
  const auto with_width = [&]<int kN>(std::integral_constant<int, kN>) {
    if (p.R <= 16) {
      across ? launch_hopper_lora<T, kN, 16, true>(stream, p)
             : launch_hopper_lora<T, kN, 16, false>(stream, p);
    } else {
      across ? launch_hopper_lora<T, kN, 32, true>(stream, p)
             : launch_hopper_lora<T, kN, 32, false>(stream, p);
    }
  };
  if (narrow) {
    with_width(std::integral_constant<int, 128>());
  } else {
    with_width(std::integral_constant<int, 256>());
  }
}

// Why a product is not for this kernel; empty when it is.
std::string refusal(const cudaDeviceProp& device, const HopperLora& p) {
#if !defined(WICK_CUDA_SM90A)
  return "built without code for compute capability 9.0a";
#endif
  if (device.major != 9 || device.minor != 0) return "not a Hopper GPU";
  if (p.dtype != DType::kF16 && p.dtype != DType::kBF16) return "neither f16 nor bf16";
  if (p.M < kFewestRows || p.N == 0 || p.K == 0 || p.R == 0) return "few rows, or nothing to compute";
  if (p.R > 32) return "a rank above 32";
  if (p.M > std::int64_t{1} << 24 || p.N > std::int64_t{1} << 24 || p.K > std::int64_t{1} << 24) {
    return "too large";
  }
  const auto whole = [](std::int64_t n) { return n % 8 == 0; };
  const auto suits = [&](const Matrix& m) {
    const std::int64_t along = m.row_stride == 1 ? m.column_stride : m.row_stride;
    return is_aligned(m.data, 16) && whole(along) && (m.row_stride == 1 || m.column_stride == 1);
  };
  if (!whole(p.N) || !whole(p.K) || p.x.column_stride != 1 || !suits(p.x) || !suits(p.w) ||
      !is_aligned(p.out, 16)) {
    return "rows that are not made of 16 bytes";
  }
  return {};
}

}  // namespace

KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& p) {
  const std::string reason = refusal(backend_of_stream(stream).properties(), p);
  if (!reason.empty()) return KernelStatus::unsupported(reason);
  if (p.dtype == DType::kF16) {
    switch_shapes<half>(stream, p);
  } else {
    switch_shapes<bfloat16>(stream, p);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#include "backends/cuda/hopper_lora.hpp"

#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"
#include "backends/cuda/tensor_map.hpp"
#include "backends/cuda/wgmma.cuh"

// Two blocks of a cluster make neighbouring tiles of out, one below the other, and share the tiles of w. In each block one
// thread tells the copy engine what to fetch; two warpgroups multiply, 64 rows each. The adapter is one more step of K.

namespace wick::cuda {

namespace {

using hopper::Barrier;
using hopper::MatrixDescriptor;

constexpr int kCluster = 2;
constexpr int kConsumers = 2;  // warpgroups
constexpr int kGroupThreads = 128;
constexpr int kThreads = (1 + kConsumers) * kGroupThreads;
constexpr int kTileM = 64 * kConsumers;
constexpr int kTileK = 64;
constexpr int kRowBytes = kTileK * 2;
constexpr std::int64_t kFewestRows = 128;
constexpr int kTurnThreads = 128;

struct HopperCall {
  HopperLora p;
  int m_pairs;  // tiles of the cluster along M
  int tiles;    // of the cluster, along M first
  int k_tiles;  // without the adapter's
};

struct HopperMaps {
  CUtensorMap x, w, p, s;
};

template <int kN>
struct HopperShared {
  static constexpr int kStages = kN == 256 ? 4 : 6;
  static constexpr int kX = kTileM * kRowBytes;
  static constexpr int kW = kN * kRowBytes;
  static constexpr int kAlignment = 1024;
  static constexpr int kBytes = kAlignment + kStages * (kX + kW) + 2 * kStages * 8;

  unsigned base;
  __device__ __forceinline__ unsigned x(int stage) const { return base + stage * (kX + kW); }
  __device__ __forceinline__ unsigned w(int stage) const { return x(stage) + kX; }
  __device__ __forceinline__ Barrier full(int stage) const { return {x(kStages) + stage * 8}; }
  __device__ __forceinline__ Barrier empty(int stage) const { return full(kStages + stage); }
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

// Eight elements `step` apart times `scale`, as 16-bit numbers.
template <class T, class Source>
__device__ __forceinline__ uint4 round_eight_of(const Source* from, std::int64_t step, float scale) {
  float values[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = scale * to_float(from[i * step]);
  return make_uint4(pack_two<T>(values[0], values[1]), pack_two<T>(values[2], values[3]),
                    pack_two<T>(values[4], values[5]), pack_two<T>(values[6], values[7]));
}

template <class T>
__device__ __forceinline__ uint4 round_eight(const Matrix& m, std::int64_t at, std::int64_t step,
                                             float scale) {
  if (m.dtype == DType::kF32) {
    return round_eight_of<T>(static_cast<const float*>(m.data) + at, step, scale);
  }
  return round_eight_of<T>(static_cast<const T*>(m.data) + at, step, scale);
}

// turned [N, R] = scale · s [R, N].
template <class T>
__global__ void turn_kernel(Matrix s, std::int64_t N, int R, float scale, T* turned) {
  const std::int64_t unit = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int eights = R / 8;
  const bool along_rank = s.row_stride == 1;
  const std::int64_t n = along_rank ? unit / eights : unit % N;
  const std::int64_t r = 8 * (along_rank ? unit % eights : unit / N);
  if (n >= N || r >= R) return;
  // SAFETY: rows of turned are made of 16 bytes and begin at multiples of them.
  *reinterpret_cast<uint4*>(turned + n * R + r) =
      round_eight<T>(s, r * s.row_stride + n * s.column_stride, s.row_stride, scale);
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// ---- The producing thread -----------------------------------------------------------------------

template <int kN, bool kAcrossK>
__device__ __forceinline__ void fetch_tiles(const HopperCall& call, const HopperShared<kN>& shared,
                                            const HopperMaps& maps) {
  using Shared = HopperShared<kN>;
  constexpr unsigned short kBoth = 3;
  const int rank = static_cast<int>(hopper::cluster_rank());
  const int first = rank * (kN / kCluster);  // of the rows of w and s that this block fetches
  Ring<Shared::kStages> ring;
  for (int tile = blockIdx.x / kCluster; tile < call.tiles; tile += gridDim.x / kCluster) {
    const int row = (tile % call.m_pairs * kCluster + rank) * kTileM;
    const int column = tile / call.m_pairs * kN;
    for (int k = 0; k <= call.k_tiles; ++k, ring.next()) {
      shared.empty(ring.stage).wait(ring.parity ^ 1);
      const Barrier full = shared.full(ring.stage);
      full.arrive_and_expect(Shared::kX + Shared::kW);
      if (k == call.k_tiles) {
        hopper::copy_box(shared.x(ring.stage), maps.p, 0, row, full);
        hopper::copy_box_to(kBoth, shared.w(ring.stage) + first * kRowBytes, maps.s, 0,
                            column + first, full);
        continue;
      }
      hopper::copy_box(shared.x(ring.stage), maps.x, k * kTileK, row, full);
      if constexpr (kAcrossK) {
#pragma unroll
        for (int i = 0; i < kN / 64 / kCluster; ++i) {
          const int box = rank * (kN / 64 / kCluster) + i;
          hopper::copy_box_to(kBoth, shared.w(ring.stage) + box * kTileK * kRowBytes, maps.w,
                              column + box * 64, k * kTileK, full);
        }
      } else {
        hopper::copy_box_to(kBoth, shared.w(ring.stage) + first * kRowBytes, maps.w, k * kTileK,
                            column + first, full);
      }
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

template <class T, int kN, bool kAcrossK>
__device__ __forceinline__ void consume(const HopperCall& call, const HopperShared<kN>& shared) {
  const int group = static_cast<int>(threadIdx.x) / kGroupThreads - 1;
  const int thread = threadIdx.x % kGroupThreads;
  const int first_x = group * 64 * kRowBytes;
  const auto release = [&](int stage) {
    if (thread < kCluster) shared.empty(stage).arrive_at(thread);
  };
  Ring<HopperShared<kN>::kStages> ring;
  float sum[kN / 8][4];
  for (int tile = blockIdx.x / kCluster; tile < call.tiles; tile += gridDim.x / kCluster) {
    int before = 0;
    for (int k = 0; k < call.k_tiles; ++k, ring.next()) {
      shared.full(ring.stage).wait(ring.parity);
      const auto x = MatrixDescriptor::along_k(shared.x(ring.stage) + first_x);
      const auto w = kAcrossK ? MatrixDescriptor::across_k(shared.w(ring.stage), kTileK * kRowBytes)
                              : MatrixDescriptor::along_k(shared.w(ring.stage));
      hopper::begin_products();
#pragma unroll
      for (int i = 0; i < kTileK / 16; ++i) {
        hopper::Products<T, kN, kAcrossK>::add(
            sum, x.plus(32 * i), w.plus(kAcrossK ? 16 * kRowBytes * i : 32 * i), k > 0 || i > 0);
      }
      hopper::commit_products();
      hopper::wait_for_products<1>();
      if (k > 0) release(before);
      before = ring.stage;
    }
    shared.full(ring.stage).wait(ring.parity);
    const auto p = MatrixDescriptor::along_k(shared.x(ring.stage) + first_x);
    const auto s = MatrixDescriptor::along_k(shared.w(ring.stage));
#pragma unroll 1
    for (int i = 0; i < (call.p.R + 15) / 16; ++i) {
      hopper::begin_products();
      hopper::Products<T, kN, false>::add(sum, p.plus(32 * i), s.plus(32 * i), true);
      hopper::commit_products();
    }
    hopper::wait_for_products<0>();
    fence(sum);
    release(before);
    release(ring.stage);
    ring.next();
    const std::int64_t row =
        (std::int64_t{tile % call.m_pairs} * kCluster + hopper::cluster_rank()) * kTileM + group * 64 +
        thread / kWarp * 16 + thread % kWarp / 4;
    store_tile<T, kN>(call.p, sum, row, tile / call.m_pairs * kN);
  }
}

#endif

template <class T, int kN, bool kAcrossK>
__global__ void __launch_bounds__(kThreads, 1)
    hopper_lora_kernel(const __grid_constant__ HopperMaps maps, const HopperCall call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shared = HopperShared<kN>;
  extern __shared__ unsigned char memory[];
  const unsigned unaligned = shared_address(memory);
  const Shared shared{(unaligned + Shared::kAlignment - 1) / Shared::kAlignment * Shared::kAlignment};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Shared::kStages; ++stage) {
      shared.full(stage).init(1);
      shared.empty(stage).init(kCluster * kConsumers);
    }
    hopper::publish_barriers();
  }
  hopper::meet_cluster();
  if (threadIdx.x < kGroupThreads) {
    hopper::give_registers<40>();
    if (threadIdx.x == 0) fetch_tiles<kN, kAcrossK>(call, shared, maps);
  } else {
    hopper::take_registers<232>();
    consume<T, kN, kAcrossK>(call, shared);
  }
  // A block must not end while the other one still sends to its memory.
  hopper::meet_cluster();
#endif
}

// ---- Launches -----------------------------------------------------------------------------------

template <class T, int kN, bool kAcrossK>
void launch_hopper_lora(Stream& stream, const HopperLora& p) {
  using Shared = HopperShared<kN>;
  const Scratch turned(stream, static_cast<std::size_t>(p.N * p.R) * sizeof(T));
  launch_on(stream, &turn_kernel<T>, static_cast<unsigned>(ceil_div(p.N * p.R / 8, kTurnThreads)),
            kTurnThreads, 0, p.s, p.N, static_cast<int>(p.R), p.scale, turned.as<T>());
  const HopperMaps maps{
      .x = tensor_map(p.dtype, p.x.data, p.M, p.K, p.x.row_stride, kTileM),
      .w = kAcrossK ? tensor_map(p.dtype, p.w.data, p.K, p.N, p.w.row_stride, kTileK)
                    : tensor_map(p.dtype, p.w.data, p.N, p.K, p.w.column_stride, kN / kCluster),
      .p = tensor_map(p.dtype, p.p, p.M, p.R, p.R, kTileM),
      .s = tensor_map(p.dtype, turned.data(), p.N, p.R, p.R, kN / kCluster)};
  HopperCall call{.p = p};
  call.m_pairs = static_cast<int>(ceil_div(p.M, kTileM * kCluster));
  call.tiles = call.m_pairs * static_cast<int>(ceil_div(p.N, kN));
  call.k_tiles = static_cast<int>(ceil_div(p.K, kTileK));
  const int clusters = std::min(
      call.tiles, backend_of_stream(stream).properties().multiProcessorCount / kCluster);
  const auto kernel = &hopper_lora_kernel<T, kN, kAcrossK>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shared::kBytes),
        "cudaFuncSetAttribute");
  launch_clusters_on(stream, kernel, kCluster, static_cast<unsigned>(clusters * kCluster), kThreads,
                     Shared::kBytes, maps, call);
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
  if (narrow) {
    across ? launch_hopper_lora<T, 128, true>(stream, p) : launch_hopper_lora<T, 128, false>(stream, p);
  } else {
    across ? launch_hopper_lora<T, 256, true>(stream, p) : launch_hopper_lora<T, 256, false>(stream, p);
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
  if (p.R > kTileK || p.R % 8 != 0) return "a rank above 64, or no multiple of 8";
  if (p.M > std::int64_t{1} << 24 || p.N > std::int64_t{1} << 24 || p.K > std::int64_t{1} << 24) {
    return "too large";
  }
  const auto whole = [](std::int64_t n) { return n % 8 == 0; };
  const auto suits = [&](const Matrix& m) {
    const std::int64_t along = m.row_stride == 1 ? m.column_stride : m.row_stride;
    return is_aligned(m.data, 16) && whole(along) && (m.row_stride == 1 || m.column_stride == 1);
  };
  if (!whole(p.N) || !whole(p.K) || p.x.column_stride != 1 || !suits(p.x) || !suits(p.w) ||
      !is_aligned(p.out, 16) || !is_aligned(p.p, 16)) {
    return "rows that are not made of 16 bytes";
  }
  return {};
}

}  // namespace

std::string hopper_lora_refusal(Stream& stream, const HopperLora& p) {
  return refusal(backend_of_stream(stream).properties(), p);
}

KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& p) {
  const std::string reason = hopper_lora_refusal(stream, p);
  if (!reason.empty()) return KernelStatus::unsupported(reason);
  if (p.dtype == DType::kF16) {
    switch_shapes<half>(stream, p);
  } else {
    switch_shapes<bfloat16>(stream, p);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#include "backends/cuda/hopper_lora.hpp"

#include <algorithm>
#include <utility>

#include "backends/cuda/hopper_lora_kernel.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_map.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cuda {

namespace {

constexpr std::int64_t kFewestRows = 128;
constexpr std::int64_t kMostRank = 64;
constexpr int kRasterRows = 16 * 128;  // of x, walked before the next tile along N
constexpr int kTurnThreads = 128;

// Eight elements `step` apart times `scale`, as 16-bit numbers.
template <class T, class Source>
__device__ __forceinline__ uint4 round_eight_of(const Source* from, std::int64_t step,
                                                float scale) {
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

// ---- Launches -----------------------------------------------------------------------------------

template <class Tiling>
HopperCall call_of(const HopperLora& p) {
  constexpr int kGroupRows = Tiling::kM * Tiling::kCluster;
  return {.M = static_cast<int>(p.M),
          .N = static_cast<int>(p.N),
          .k_tiles = static_cast<int>(ceil_div(p.K, Tiling::kK)),
          .rank_steps = static_cast<int>(ceil_div(p.R, 16)),
          .rank_tile = p.R <= 16   ? 16
                       : p.R <= 32 ? 32
                                   : 64,
          .m_groups = static_cast<int>(ceil_div(p.M, kGroupRows)),
          .n_tiles = static_cast<int>(ceil_div(p.N, Tiling::kN)),
          .raster = kRasterRows / kGroupRows,
          .bias = p.bias,
          .out = p.out};
}

template <class Tiling>
void launch_hopper_lora(Stream& stream, const HopperLora& p) {
  using T = typename Tiling::T;
  const Scratch turned(stream, static_cast<std::size_t>(p.N * p.R) * sizeof(T));
  launch_on(stream, &turn_kernel<T>, static_cast<unsigned>(ceil_div(p.N * p.R / 8, kTurnThreads)),
            kTurnThreads, 0, p.s, p.N, static_cast<int>(p.R), p.scale, turned.as<T>());
  const HopperCall call = call_of<Tiling>(p);
  const HopperMaps maps{
      .x = tensor_map(p.dtype, p.x.data, p.M, p.K, p.x.row_stride, Tiling::kM),
      .w = Tiling::kAcrossK
               ? tensor_map(p.dtype, p.w.data, p.K, p.N, p.w.row_stride, Tiling::kWBoxRows)
               : tensor_map(p.dtype, p.w.data, p.N, p.K, p.w.column_stride, Tiling::kWBoxRows),
      .p = tensor_map(p.dtype, p.p, p.M, p.R, p.R, Tiling::kM, call.rank_tile),
      .s = tensor_map(p.dtype, turned.data(), p.N, p.R, p.R, Tiling::kSBoxRows, call.rank_tile)};
  const int clusters =
      std::min(call.m_groups * call.n_tiles,
               backend_of_stream(stream).properties().multiProcessorCount / Tiling::kCluster);
  const auto kernel = &hopper_lora_kernel<Tiling>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Tiling::kSharedBytes),
        "cudaFuncSetAttribute");
  launch_clusters_on(stream, kernel, Tiling::kCluster,
                     static_cast<unsigned>(clusters * Tiling::kCluster), Tiling::kThreads,
                     Tiling::kSharedBytes, maps, call);
}

// ---- The choice of a tiling ---------------------------------------------------------------------

template <class T, bool kAcrossK>
using Widest = HopperTiling<T, 256, false, kAcrossK, 2, 4>;
template <class T, bool kAcrossK>
using Wide = HopperTiling<T, 224, false, kAcrossK, 2, kAcrossK ? 4 : 5>;
template <class T, bool kAcrossK>
using InTurns = HopperTiling<T, 128, true, kAcrossK, 2, 6>;
template <class T, bool kAcrossK>
using Narrow = HopperTiling<T, 64, false, kAcrossK, 1, 8>;

enum class Cut { kWidest, kWide, kInTurns, kNarrow };

// Rounds of tiles over the chip, each as long as its tile is wide and deep. What else they take was fitted to 30 shapes on
// an H100: the end of a tile costs two steps along K where nothing else runs meanwhile, tiles taken in turns read more.
Cut choose(const HopperLora& p, int multiprocessors) {
  const auto k_tiles = static_cast<double>(ceil_div(p.K, 64));
  const auto rounds = [&](std::int64_t width, int cluster) {
    const std::int64_t tiles = ceil_div(p.M, std::int64_t{128} * cluster) * ceil_div(p.N, width);
    return static_cast<double>(ceil_div(tiles, multiprocessors / cluster) * width);
  };
  const std::pair<Cut, double> costs[] = {
      {Cut::kWidest, rounds(256, 2) * (k_tiles + 2)},
      {Cut::kWide, rounds(224, 2) * (k_tiles + 2) * 1.01},
      {Cut::kInTurns, rounds(128, 2) * k_tiles * (1 + k_tiles / 800) + 2000},
      {Cut::kNarrow, rounds(64, 1) * (k_tiles + 2) * 2.5},
  };
  return std::ranges::min_element(costs, {}, &std::pair<Cut, double>::second)->first;
}

// The one that a variant's name asks for, hopper_256 and so on; else the cheapest.
Cut cut_of(Stream& stream, const HopperLora& p) {
  const std::string forced = forced_variant("lora_linear");
  if (forced == "hopper_256") return Cut::kWidest;
  if (forced == "hopper_224") return Cut::kWide;
  if (forced == "hopper_turns") return Cut::kInTurns;
  if (forced == "hopper_64") return Cut::kNarrow;
  return choose(p, backend_of_stream(stream).properties().multiProcessorCount);
}

template <class T, bool kAcrossK>
void launch_chosen(Stream& stream, const HopperLora& p) {
  switch (cut_of(stream, p)) {
    case Cut::kWidest:
      return launch_hopper_lora<Widest<T, kAcrossK>>(stream, p);
    case Cut::kWide:
      return launch_hopper_lora<Wide<T, kAcrossK>>(stream, p);
    case Cut::kInTurns:
      return launch_hopper_lora<InTurns<T, kAcrossK>>(stream, p);
    case Cut::kNarrow:
      return launch_hopper_lora<Narrow<T, kAcrossK>>(stream, p);
  }
}

// Why a product is not for this kernel; empty when it is.
std::string refusal(const cudaDeviceProp& device, const HopperLora& p) {
#if !defined(WICK_CUDA_SM90A)
  return "built without code for compute capability 9.0a";
#endif
  if (device.major != 9 || device.minor != 0) return "not a Hopper GPU";
  if (p.dtype != DType::kF16 && p.dtype != DType::kBF16) return "neither f16 nor bf16";
  if (p.M < kFewestRows || p.N == 0 || p.K == 0 || p.R == 0)
    return "few rows, or nothing to compute";
  if (p.R > kMostRank || p.R % 8 != 0) return "a rank above 64, or no multiple of 8";
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
  const bool across = p.w.row_stride != 1;
  if (p.dtype == DType::kF16) {
    across ? launch_chosen<half, true>(stream, p) : launch_chosen<half, false>(stream, p);
  } else {
    across ? launch_chosen<bfloat16, true>(stream, p) : launch_chosen<bfloat16, false>(stream, p);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda

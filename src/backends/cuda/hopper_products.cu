#include "backends/cuda/hopper_products.hpp"

#include <algorithm>
#include <utility>

#include "backends/cuda/hopper_products.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_map.hpp"

namespace wick::cuda {

namespace {

constexpr int kRasterRows = 16 * 128;  // of x, walked before the next tile along N
constexpr std::int64_t kFewestRows = 128;
constexpr std::int64_t kMost = std::int64_t{1} << 24;

// Of w or s; `tile` of their depth is fetched at a time.
template <class Tiling>
CUtensorMap map_of(const LoraProduct& p, const Matrix& m, std::int64_t depth, int tile) {
  const int box_rows = Tiling::w_box_rows(tile);
  return Tiling::kAcrossK ? tensor_map(p.dtype, m.data, depth, p.N, m.row_stride, box_rows)
                          : tensor_map(p.dtype, m.data, p.N, depth, m.column_stride, box_rows, tile);
}

int rank_tile_of(std::int64_t rank) { return rank <= 16 ? 16 : rank <= 32 ? 32 : 64; }

template <class Tiling>
void launch_product(Stream& stream, const LoraProduct& p) {
  constexpr int kGroupRows = Tiling::kM * Tiling::kCluster;
  const HopperProductCall call{.M = static_cast<int>(p.M),
                               .N = static_cast<int>(p.N),
                               .k_tiles = static_cast<int>(ceil_div(p.K, Tiling::kK)),
                               .rank_steps = static_cast<int>(ceil_div(p.R, 16)),
                               .rank_tile = rank_tile_of(p.R),
                               .m_groups = static_cast<int>(ceil_div(p.M, kGroupRows)),
                               .n_tiles = static_cast<int>(ceil_div(p.N, Tiling::kN)),
                               .raster = kRasterRows / kGroupRows,
                               .bias = p.bias,
                               .out = p.out};
  const CUtensorMap x_map = tensor_map(p.dtype, p.x.data, p.M, p.K, p.x.row_stride, Tiling::kM);
  const CUtensorMap w_map = map_of<Tiling>(p, p.w, p.K, Tiling::kK);
  const CUtensorMap p_map = p.R == 0 ? x_map
                                     : tensor_map(p.dtype, p.p.data, p.M, p.R, p.p.row_stride,
                                                  Tiling::kM, call.rank_tile);
  const CUtensorMap s_map = p.R == 0 ? w_map : map_of<Tiling>(p, p.s, p.R, call.rank_tile);
  const int clusters =
      std::min(call.m_groups * call.n_tiles,
               backend_of_stream(stream).properties().multiProcessorCount / Tiling::kCluster);
  const auto kernel = &hopper_product_kernel<Tiling>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Tiling::kSharedBytes),
        "cudaFuncSetAttribute");
  launch_on(stream, kernel, static_cast<unsigned>(clusters * Tiling::kCluster), Tiling::kThreads,
            Tiling::kSharedBytes, x_map, w_map, p_map, s_map, call);
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

// Rounds of tiles over the chip, each as long as its tile is wide and deep. What else they take was fitted to 30 shapes
// on an H100: a tile's end costs two steps along K where nothing else runs meanwhile, tiles taken in turns read more.
Cut choose(const LoraProduct& p, int multiprocessors) {
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

template <class T, bool kAcrossK>
void launch_chosen(Stream& stream, const LoraProduct& p) {
  switch (choose(p, backend_of_stream(stream).properties().multiProcessorCount)) {
    case Cut::kWidest:
      return launch_product<Widest<T, kAcrossK>>(stream, p);
    case Cut::kWide:
      return launch_product<Wide<T, kAcrossK>>(stream, p);
    case Cut::kInTurns:
      return launch_product<InTurns<T, kAcrossK>>(stream, p);
    case Cut::kNarrow:
      return launch_product<Narrow<T, kAcrossK>>(stream, p);
  }
}

// Why a product is not for these kernels; empty when it is.
std::string refusal(const cudaDeviceProp& device, const LoraProduct& p) {
#if !defined(WICK_CUDA_SM90A)
  return "built without code for compute capability 9.0a";
#endif
  if (device.major != 9 || device.minor != 0) return "not a Hopper GPU";
  if (p.dtype != DType::kF16 && p.dtype != DType::kBF16) return "neither f16 nor bf16";
  if (p.M < kFewestRows || p.N == 0 || p.K == 0) return "few rows, or nothing to compute";
  if (p.M > kMost || p.N > kMost || p.K > kMost || p.R > kMost) return "too large";
  const bool across = p.w.column_stride == 1;
  const auto suits = [&](const Matrix& m, bool dense_columns) {
    const std::int64_t dense = dense_columns ? m.column_stride : m.row_stride;
    const std::int64_t rows = dense_columns ? m.row_stride : m.column_stride;
    return m.dtype == p.dtype && dense == 1 && rows % 8 == 0 && is_aligned(m.data, 16);
  };
  const bool thin_suits = p.R == 0 || (suits(p.p, true) && suits(p.s, across));
  if (p.N % 8 != 0 || p.K % 8 != 0 || !suits(p.x, true) || !suits(p.w, across) || !thin_suits ||
      !is_aligned(p.out, 16)) {
    return "rows that are not made of 16 bytes";
  }
  return {};
}

}  // namespace

bool takes_with_thin(Stream& stream, const LoraProduct& p) {
  return refusal(backend_of_stream(stream).properties(), p).empty();
}

KernelStatus multiply_with_thin(Stream& stream, const LoraProduct& p) {
  const std::string reason = refusal(backend_of_stream(stream).properties(), p);
  if (!reason.empty()) return KernelStatus::unsupported(reason);
  const bool across = p.w.column_stride == 1;
  if (p.dtype == DType::kF16) {
    across ? launch_chosen<half, true>(stream, p) : launch_chosen<half, false>(stream, p);
  } else {
    across ? launch_chosen<bfloat16, true>(stream, p) : launch_chosen<bfloat16, false>(stream, p);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda

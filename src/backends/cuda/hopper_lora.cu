#include "backends/cuda/hopper_lora.hpp"

#include <algorithm>
#include <span>
#include <type_traits>
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

// ---- Launches -----------------------------------------------------------------------------------

int rank_tile_of(std::int64_t R) {
  if (R <= 16) return 16;
  return R <= 32 ? 32 : 64;
}

// The columns of a part's p: a pair has one p.
std::int64_t rank_of_p(const HopperLora& p, int part) {
  return p.h != nullptr ? p.parts[0].R + p.parts[1].R : p.parts[static_cast<std::size_t>(part)].R;
}

template <class Tiling>
HopperCall call_of(const HopperLora& p) {
  constexpr int kGroupRows = Tiling::kM * Tiling::kCluster;
  constexpr int kFirsts = Tiling::kRank > 0 ? 1 : 0;
  HopperCall call{.M = static_cast<int>(p.M),
                  .m_groups = static_cast<int>(ceil_div(p.M, kGroupRows)),
                  .firsts = 0,
                  .tiles = 0,
                  .n_tiles = 0,
                  .raster = kRasterRows / kGroupRows,
                  .summed = p.sums_parts ? p.count : 1,
                  .stages = 0,
                  .parts = {},
                  .split = static_cast<int>(p.parts[0].R),
                  .h = p.h != nullptr ? p.h : p.h_again,
                  .dgate = p.dgate,
                  .dup = p.dup};
  const bool one_by_one = !p.sums_parts && !Tiling::kPair;
  for (int i = 0; i < p.count; ++i) {
    const HopperPart& part = p.parts[static_cast<std::size_t>(i)];
    const int k_tiles = static_cast<int>(ceil_div(part.K, Tiling::kK));
    if (i == 0 || one_by_one) {
      call.n_tiles += static_cast<int>(ceil_div(part.N, Tiling::kColumns)) - kFirsts;
    }
    if (i == 0 || p.sums_parts) call.stages += k_tiles + 1;
    call.parts[i] = {.N = static_cast<int>(part.N),
                     .n_end = call.n_tiles,
                     .k_tiles = k_tiles,
                     .rank_steps = static_cast<int>(ceil_div(rank_of_p(p, i), 16)),
                     .rank_tile = Tiling::kRank > 0 ? Tiling::kRank : rank_tile_of(part.R),
                     .bias = part.bias,
                     .out = part.out,
                     .R = static_cast<int>(rank_of_p(p, i)),
                     .p_f32 = part.p_f32,
                     .p = part.p.data,
                     .p_stride = static_cast<int>(part.p.row_stride),
                     .made = part.made};
  }
  call.firsts = kFirsts * call.m_groups * (one_by_one ? p.count : 1);
  call.tiles = call.firsts + call.m_groups * call.n_tiles;
  return call;
}

template <class Tiling>
HopperMaps maps_of(const HopperLora& whole, int i, int rank_tile) {
  const HopperPart& p = whole.parts[static_cast<std::size_t>(i)];
  const std::int64_t R = rank_of_p(whole, i);
  return {
      .x = tensor_map(whole.dtype, p.x.data, whole.M, p.K, p.x.row_stride, Tiling::kM),
      .w = Tiling::kAcrossK
               ? tensor_map(whole.dtype, p.w.data, p.K, p.N, p.w.row_stride, Tiling::kWBoxRows)
               : tensor_map(whole.dtype, p.w.data, p.N, p.K, p.w.column_stride, Tiling::kWBoxRows),
      .p = tensor_map(whole.dtype, p.p.data, whole.M, R, p.p.row_stride, Tiling::kM, rank_tile),
      .s = tensor_map(whole.dtype, p.s, p.N, p.R, p.R, Tiling::kSBoxRows, rank_tile),
      .a = Tiling::kRank > 0 ? tensor_map(whole.dtype, p.a, R, p.K, p.K, Tiling::kRank)
                             : CUtensorMap{}};
}

// As many as run at once. Under the variants whose names end so it is one: then all but the first tiles find p made, which
// else takes a product of hundreds of tiles.
int clusters_for(Stream& stream, const HopperCall& call, int blocks) {
  if (forced_variant("lora_linear").ends_with("_queue")) return 1;
  return std::min(call.tiles, backend_of_stream(stream).properties().multiProcessorCount / blocks);
}

template <class Tiling>
void launch_hopper_lora(Stream& stream, const HopperLora& p) {
  const HopperCall call = call_of<Tiling>(p);
  HopperPartMaps maps{};
  for (int i = 0; i < p.count; ++i) {
    maps.parts[i] = maps_of<Tiling>(p, i, call.parts[i].rank_tile);
  }
  if constexpr (Tiling::kEnd == HopperEnd::kSwigluBackward) {
    const std::int64_t N = p.parts[0].N;
    maps.gate = tensor_map(p.dtype, p.gate, p.M, N, N, Tiling::kM);
    maps.up = tensor_map(p.dtype, p.up, p.M, N, N, Tiling::kM);
  }
  const int clusters = clusters_for(stream, call, Tiling::kCluster);
  const auto kernel = &hopper_lora_kernel<Tiling>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Tiling::kSharedBytes),
        "cudaFuncSetAttribute");
  launch_clusters_on(stream, kernel, dim3(Tiling::kCluster),
                     static_cast<unsigned>(clusters * Tiling::kCluster), Tiling::kThreads,
                     Tiling::kSharedBytes, maps, call);
}

// ---- The choice of a tiling ---------------------------------------------------------------------

constexpr HopperEnd kPlainEnd = HopperEnd::kPlain;

template <class T, bool kAcrossK, int kRank, HopperEnd kEnd = kPlainEnd>
using Widest = HopperTiling<T, 256, false, kAcrossK, 2, 4, kRank, kEnd>;
template <class T, bool kAcrossK, int kRank>
using Wide = HopperTiling<T, 224, false, kAcrossK, 2, 5, kRank>;
// With 64 columns of p beside its tile a warpgroup has too few registers for turns.
template <class T, bool kAcrossK, int kRank, HopperEnd kEnd = kPlainEnd>
using InTurns =
    std::conditional_t<kRank <= 32, HopperTiling<T, 128, true, kAcrossK, 2, 6, kRank, kEnd>,
                       Widest<T, kAcrossK, kRank, kEnd>>;
template <class T, bool kAcrossK, int kRank>
using Narrow = HopperTiling<T, 64, false, kAcrossK, 1, 8, kRank>;

enum class Cut { kWidest, kWide, kInTurns, kNarrow };

// Rounds of tiles over the chip, each as long as its tile is wide and deep. What else they take was fitted to 30 shapes on
// an H100: the end of a tile costs two steps along K where nothing else runs meanwhile, tiles taken in turns read more.
constexpr double kEndSteps = 2;
constexpr double kSwigluSteps = 6;  // three times as much to store: an estimate, not fitted

Cut choose(const HopperLora& p, int multiprocessors) {
  const std::span parts(p.parts.data(), static_cast<std::size_t>(p.count));
  const std::span along_k = p.sums_parts ? parts : parts.first(1);
  const std::span along_n = p.sums_parts ? parts.first(1) : parts;
  const bool knows_swiglu = p.h != nullptr;
  std::int64_t steps = 0;
  for (const HopperPart& part : along_k) steps += ceil_div(part.K, 64);
  const auto k_tiles = static_cast<double>(steps);
  const auto rounds = [&](std::int64_t width, int cluster) {
    std::int64_t columns = 0;
    for (const HopperPart& part : along_n) columns += ceil_div(part.N, width);
    const std::int64_t tiles = ceil_div(p.M, std::int64_t{128} * cluster) * columns;
    return static_cast<double>(ceil_div(tiles, multiprocessors / cluster) * width);
  };
  const double end = knows_swiglu ? kSwigluSteps : kEndSteps;
  const double in_turns = rounds(128, 2) * k_tiles * (1 + k_tiles / 800) + 2000;
  const double widest = rounds(256, 2) * (k_tiles + end);
  if (knows_swiglu) return in_turns < widest ? Cut::kInTurns : Cut::kWidest;
  const std::pair<Cut, double> costs[] = {
      {Cut::kWidest, widest},
      {Cut::kWide, rounds(224, 2) * (k_tiles + end) * 1.01},
      {Cut::kInTurns, in_turns},
      {Cut::kNarrow, rounds(64, 1) * (k_tiles + end) * 2.5},
  };
  return std::ranges::min_element(costs, {}, &std::pair<Cut, double>::second)->first;
}

// The one that a variant's name asks for, hopper_256 and so on; else the cheapest. Names that go on with _queue are for
// tests: see clusters_for().
Cut cut_of(Stream& stream, const HopperLora& p) {
  const std::string forced = forced_variant("lora_linear");
  if (forced.starts_with("hopper_256")) return Cut::kWidest;
  if (forced.starts_with("hopper_224")) return Cut::kWide;
  if (forced.starts_with("hopper_turns")) return Cut::kInTurns;
  if (forced.starts_with("hopper_64")) return Cut::kNarrow;
  return choose(p, backend_of_stream(stream).properties().multiProcessorCount);
}

template <class T, bool kAcrossK, int kRank>
void launch_chosen(Stream& stream, const HopperLora& p) {
  switch (cut_of(stream, p)) {
    case Cut::kWidest:
      return launch_hopper_lora<Widest<T, kAcrossK, kRank>>(stream, p);
    case Cut::kWide:
      return launch_hopper_lora<Wide<T, kAcrossK, kRank>>(stream, p);
    case Cut::kInTurns:
      return launch_hopper_lora<InTurns<T, kAcrossK, kRank>>(stream, p);
    case Cut::kNarrow:
      return launch_hopper_lora<Narrow<T, kAcrossK, kRank>>(stream, p);
  }
}

// swiglu(gate, up) is known to the ends of two cuts.
template <class T, int kRank>
void launch_making(Stream& stream, const HopperLora& p) {
  if (p.h == nullptr) return launch_chosen<T, false, kRank>(stream, p);
  if (cut_of(stream, p) == Cut::kInTurns) {
    return launch_hopper_lora<InTurns<T, false, kRank, HopperEnd::kSwiglu>>(stream, p);
  }
  launch_hopper_lora<Widest<T, false, kRank, HopperEnd::kSwiglu>>(stream, p);
}

template <class T>
void launch_for(Stream& stream, const HopperLora& p) {
  if (!p.makes_p) {
    const bool across = p.parts.front().w.row_stride != 1;
    if (p.ends_in_gradients()) {
      return launch_hopper_lora<InTurns<T, true, 0, HopperEnd::kSwigluBackward>>(stream, p);
    }
    return across ? launch_chosen<T, true, 0>(stream, p) : launch_chosen<T, false, 0>(stream, p);
  }
  std::int64_t most = 0;
  for (int i = 0; i < p.count; ++i) most = std::max(most, rank_of_p(p, i));
  switch (rank_tile_of(most)) {
    case 16:
      return launch_making<T, 16>(stream, p);
    case 32:
      return launch_making<T, 32>(stream, p);
    default:
      return launch_making<T, 64>(stream, p);
  }
}

constexpr std::int64_t kMostSize = std::int64_t{1} << 24;

bool suits(const Matrix& m) {
  const std::int64_t along = m.row_stride == 1 ? m.column_stride : m.row_stride;
  return is_aligned(m.data, 16) && along % 8 == 0 && (m.row_stride == 1 || m.column_stride == 1);
}

// Why a part is not for this kernel; empty when it is.
std::string refusal(const HopperPart& p, bool makes_p) {
  if (p.N == 0 || p.K == 0 || p.R == 0) return "nothing to compute";
  if (p.R > kMostRank || p.R % 8 != 0) return "a rank above 64, or no multiple of 8";
  if (p.N > kMostSize || p.K > kMostSize) return "too large";
  if (makes_p && p.w.row_stride != 1) return "p made beside a w that is dense along N";
  if (p.N % 8 != 0 || p.K % 8 != 0 || p.x.column_stride != 1 || !suits(p.x) || !suits(p.w) ||
      !is_aligned(p.out, 16)) {
    return "rows that are not made of 16 bytes";
  }
  return {};
}

// Why a product is not for this kernel; empty when it is.
std::string refusal(const cudaDeviceProp& device, const HopperLora& p) {
#if !defined(WICK_CUDA_SM90A)
  return "built without code for compute capability 9.0a";
#endif
  if (device.major != 9 || device.minor != 0) return "not a Hopper GPU";
  if (p.dtype != DType::kF16 && p.dtype != DType::kBF16) return "neither f16 nor bf16";
  if (p.M < kFewestRows) return "few rows";
  if (p.M > kMostSize) return "too large";
  if (p.h != nullptr && rank_of_p(p, 0) > kMostRank) return "ranks above 64 together";
  for (const void* data : {p.gate, p.up, p.dgate, p.dup, p.h, p.h_again}) {
    if (!is_aligned(data, 16)) return "rows that are not made of 16 bytes";
  }
  for (int i = 0; i < p.count; ++i) {
    std::string reason = refusal(p.parts[static_cast<std::size_t>(i)], p.makes_p);
    if (!reason.empty()) return reason;
  }
  return {};
}

}  // namespace

std::int64_t hopper_row_tiles(std::int64_t M) { return 2 * ceil_div(M, 256); }

std::string hopper_lora_refusal(Stream& stream, const HopperLora& p) {
  return refusal(backend_of_stream(stream).properties(), p);
}

KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& p) {
  const std::string reason = hopper_lora_refusal(stream, p);
  if (!reason.empty()) return KernelStatus::unsupported(reason);
  p.dtype == DType::kF16 ? launch_for<half>(stream, p) : launch_for<bfloat16>(stream, p);
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#include "backends/cuda/hopper_thin.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "backends/cuda/hopper_thin_kernel.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_map.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cuda {

namespace {

constexpr int kMostRank = 64;
constexpr int kClusters[] = {4, 8};

int rank_blocks_of(std::int64_t rank) { return static_cast<int>(ceil_div(rank, 16)); }

// Strips of rows: as deep as registers and shared memory allow, and as many as keep all clusters busy to the end.
template <class Tiling>
void cut_rows(HopperThinCall& call, int clusters) {
  int most_blocks = 1;
  for (int i = 0; i < call.count; ++i) {
    most_blocks = std::max(most_blocks, call.passes[i].rank_blocks);
  }
  const int most =
      std::min(Tiling::kGroups, Tiling::kMostGBytes / (most_blocks * Tiling::kRows * 32));
  const std::int64_t rounds = ceil_div(call.M, std::int64_t{clusters} * most * Tiling::kRows);
  const std::int64_t share = ceil_div(call.M, clusters * rounds);
  call.strip_rows = static_cast<int>(ceil_div(share, Tiling::kBoxRows)) * Tiling::kBoxRows;
  call.strips = static_cast<int>(ceil_div(call.M, call.strip_rows));
}

// A product after the other, each from the block on where the one before ended.
template <class Tiling>
HopperThinCall call_of(std::span<const ThinProducts> products, int cluster) {
  HopperThinCall call{.M = static_cast<int>(products.front().M),
                      .count = static_cast<int>(products.size()),
                      .strips = 0,
                      .strip_rows = 0,
                      .cluster = cluster,
                      .passes = {}};
  int first = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const ThinProducts& a = products[i];
    const int tiles = static_cast<int>(ceil_div(a.C, Tiling::kColumns));
    call.passes[i] = {.g = a.g.data,
                      .g_is_f32 = a.g.dtype == DType::kF32,
                      .g_row_stride = a.g.row_stride,
                      .p = a.t.data != nullptr ? a.p : nullptr,
                      .p_row_stride = a.p_row_stride,
                      .d_parts = nullptr,
                      .C = static_cast<int>(a.C),
                      .R = static_cast<int>(a.total_rank()),
                      .tiles = tiles,
                      .first = first,
                      .rank_blocks = rank_blocks_of(a.total_rank())};
    first = (first + tiles) % cluster;
  }
  return call;
}

template <class Tiling>
HopperThinMaps maps_of(std::span<const ThinProducts> products) {
  HopperThinMaps maps{};
  for (std::size_t i = 0; i < products.size(); ++i) {
    const ThinProducts& a = products[i];
    maps.x[i] = tensor_map(a.dtype, a.x, a.M, a.C, a.C, Tiling::kBoxRows, Tiling::kColumns);
    if (a.t.data == nullptr) continue;
    maps.t[i] =
        tensor_map(a.dtype, a.t.data, a.C, a.total_rank(), a.t.row_stride, Tiling::kColumns, 16);
  }
  return maps;
}

// The launch of a kernel in clusters; an early one may begin while the kernel before it still runs.
template <class Tiling>
void launch_clusters(Stream& stream, unsigned cluster, unsigned blocks, const HopperThinMaps& maps,
                     const HopperThinCall& call, bool early) {
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {cluster, 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = Tiling::kThreads;
  config.dynamicSmemBytes = Tiling::kSharedBytes;
  config.stream = activate(stream);
  config.attrs = attributes;
  config.numAttrs = early ? 2 : 1;
  check(cudaLaunchKernelEx(&config, &hopper_thin_kernel<Tiling>, maps, call), "cudaLaunchKernelEx");
}

// Asked once, since it takes longer than a launch. On a GPU unlike the first one strips are cut less well, no more.
template <class Tiling>
int clusters_at_once(Stream& stream, int cluster) {
  const auto ask = [&](int blocks) {
    return resident_clusters(stream, &hopper_thin_kernel<Tiling>, blocks, Tiling::kThreads,
                             Tiling::kSharedBytes);
  };
  static const int fours = ask(4);
  static const int eights = ask(8);
  return cluster == 4 ? fours : eights;
}

// How long a way to cut takes: the longest share of a cluster, in rows by one block, and the partial sums of d, which are
// written and read once for each strip (of 16 ranks in f32: the bytes of 64 rows of x).
double cost_of(const HopperThinCall& call, int clusters, int blocks) {
  const auto rounds = static_cast<double>(ceil_div(call.strips, clusters));
  const double products = rounds * call.strip_rows / call.cluster;
  constexpr double kSumsOfStrip = 64;
  return products + kSumsOfStrip * call.strips / blocks;
}

struct HopperThinPlan {
  HopperThinCall call;
  int clusters = 0;  // that run at once; 0: none can
};

// In clusters of eight blocks or of four: those of four leave fewer multiprocessors without one, and more sums to add up.
template <class Tiling>
HopperThinPlan plan_for(Stream& stream, std::span<const ThinProducts> products) {
  const bool in_fours = forced_variant("lora_linear") == "hopper_fours";
  const int blocks = backend_of_stream(stream).properties().multiProcessorCount;
  HopperThinPlan best;
  double least = 0;
  for (const int cluster : kClusters) {
    if (in_fours && cluster != 4) continue;
    HopperThinPlan plan{.call = call_of<Tiling>(products, cluster),
                        .clusters = clusters_at_once<Tiling>(stream, cluster)};
    if (plan.clusters == 0) continue;
    cut_rows<Tiling>(plan.call, plan.clusters);
    const double cost = cost_of(plan.call, plan.clusters, blocks);
    if (best.clusters > 0 && cost >= least) continue;
    best = plan;
    least = cost;
  }
  return best;
}

template <class Tiling>
KernelStatus run(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums,
                 bool early) {
  const auto kernel = &hopper_thin_kernel<Tiling>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             Tiling::kSharedBytes),
        "cudaFuncSetAttribute");
  auto [call, clusters] = plan_for<Tiling>(stream, products);
  if (clusters == 0) return KernelStatus::unsupported("no clusters of blocks");
  for (std::size_t i = 0; i < products.size(); ++i) {
    HopperThinPass& pass = call.passes[i];
    const int padded_rank = 16 * pass.rank_blocks;
    auto memory = std::make_unique<Scratch>(
        stream,
        static_cast<std::size_t>(std::int64_t{call.strips} * pass.C * padded_rank) * sizeof(float));
    pass.d_parts = memory->as<float>();
    sums.add({products[i], call.strips, padded_rank, pass.d_parts}, std::move(memory));
  }
  const auto blocks = static_cast<unsigned>(call.cluster * std::min(clusters, call.strips));
  launch_clusters<Tiling>(stream, static_cast<unsigned>(call.cluster), blocks,
                          maps_of<Tiling>(products), call, early);
  return KernelStatus::ok();
}

template <class T>
KernelStatus run_as(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums,
                    bool early) {
  int p_blocks = 1;
  for (const ThinProducts& a : products) {
    if (a.t.data != nullptr) p_blocks = std::max(p_blocks, rank_blocks_of(a.total_rank()));
  }
  if (p_blocks == 1) return run<HopperThinTiling<T, 1>>(stream, products, sums, early);
  if (p_blocks == 2) return run<HopperThinTiling<T, 2>>(stream, products, sums, early);
  return run<HopperThinTiling<T, 4>>(stream, products, sums, early);
}

bool has_eights(const void* data, std::int64_t row_stride, std::int64_t column_stride) {
  return is_aligned(data, 16) && row_stride % 8 == 0 && column_stride == 1;
}

std::string refusal(const ThinProducts& a, const ThinProducts& first) {
  const std::int64_t R = a.total_rank();
  if (a.M != first.M || a.dtype != first.dtype) return "products of unlike rows";
  if (R > kMostRank || R % 8 != 0) return "a rank above 64, or no multiple of 8";
  if (a.g.data == nullptr || !has_eights(a.g.data, a.g.row_stride, a.g.column_stride)) {
    return "no sums over rows, or rows of g that are not made of 16 bytes";
  }
  for (int i = 0; i < a.count; ++i) {
    if (a.ranges[static_cast<std::size_t>(i)].p_f32 != nullptr) return "p in f32";
  }
  if (a.t.data == nullptr) return {};
  if (a.t.dtype != a.dtype || !has_eights(a.t.data, a.t.row_stride, a.t.column_stride) ||
      a.p == nullptr) {
    return "a small operand that is not dense along the rank and of x's dtype";
  }
  return {};
}

}  // namespace

std::string hopper_thin_refusal(Stream& stream, std::span<const ThinProducts> products) {
#if !defined(WICK_CUDA_SM90A)
  return "built without code for compute capability 9.0a";
#endif
  const cudaDeviceProp& device = backend_of_stream(stream).properties();
  if (device.major != 9 || device.minor != 0) return "not a Hopper GPU";
  if (products.empty() || products.size() > kMostHopperThin) return "too many products";
  for (const ThinProducts& a : products) {
    std::string reason = thin_refusal(a);
    if (reason.empty()) reason = refusal(a, products.front());
    if (!reason.empty()) return reason;
  }
  return {};
}

KernelStatus multiply_hopper_thin(Stream& stream, std::span<const ThinProducts> products,
                                  ThinSums& sums, bool early) {
  const std::string reason = hopper_thin_refusal(stream, products);
  if (!reason.empty()) return KernelStatus::unsupported(reason);
  if (products.front().dtype == DType::kF16) return run_as<half>(stream, products, sums, early);
  return run_as<bfloat16>(stream, products, sums, early);
}

}  // namespace wick::cuda

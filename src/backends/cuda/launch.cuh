#pragma once

#include <algorithm>
#include <span>
#include <type_traits>
#include <utility>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/device_math.cuh"
#include "layout/tensor_view.hpp"
#include "runtime/kernel_status.hpp"

// The host side of a kernel: dtypes to types, addresses, sizes of grids, the launch itself.

namespace wick::cuda {

/// Calls f(std::type_identity<T>{}) with CUDA's element type of a floating dtype.
template <class F>
decltype(auto) switch_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return std::forward<F>(f)(std::type_identity<float>{});
    case DType::kF16:
      return std::forward<F>(f)(std::type_identity<half>{});
    case DType::kBF16:
      return std::forward<F>(f)(std::type_identity<bfloat16>{});
    default:
      detail::throw_internal("a CUDA kernel was given a dtype that is not floating");
  }
}

/// As above for every dtype; bool is a byte of 0 or 1.
template <class F>
decltype(auto) switch_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kI32:
      return std::forward<F>(f)(std::type_identity<std::int32_t>{});
    case DType::kI64:
      return std::forward<F>(f)(std::type_identity<std::int64_t>{});
    case DType::kU8:
      return std::forward<F>(f)(std::type_identity<std::uint8_t>{});
    case DType::kBool:
      return std::forward<F>(f)(std::type_identity<bool>{});
    default:
      return switch_floating(dtype, std::forward<F>(f));
  }
}

/// As above for indices: i32 and i64.
template <class F>
decltype(auto) switch_index(DType dtype, F&& f) {
  if (dtype == DType::kI32) return std::forward<F>(f)(std::type_identity<std::int32_t>{});
  detail::check(dtype == DType::kI64,
                "a CUDA kernel was given indices that are neither i32 nor i64");
  return std::forward<F>(f)(std::type_identity<std::int64_t>{});
}

/// The address of a view's first element; null for a view that was not given. The dtype must be T's, which
/// the caller has just switched on.
template <class T>
T* data_of(const TensorView& view) {
  return view ? static_cast<T*>(view.data) : nullptr;
}

/// True when `data` is a multiple of `bytes`.
inline bool is_aligned(const void* data, std::size_t bytes) {
  // SAFETY: the address is only looked at for its low bits.
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Blocks for `items` items of `per_block` each, when a block loops over them by the size of the grid.
inline unsigned grid_of(Stream& stream, std::int64_t items, std::int64_t per_block,
                        int blocks_per_multiprocessor = 8) {
  const std::int64_t most = std::int64_t{blocks_per_multiprocessor} *
                            backend_of_stream(stream).properties().multiProcessorCount;
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(items, per_block), 1, most));
}

/// Enqueues kernel<<<grid, block, shared>>>(args...). Throws Error kDevice when the launch is refused.
template <class... Parameters, class... Args>
void launch_on(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
               std::size_t shared_bytes, Args&&... args) {
  const cudaStream_t queue = activate(stream);
  kernel<<<grid, block, shared_bytes, queue>>>(std::forward<Args>(args)...);
  check(cudaGetLastError(), "kernel launch");
}

/// A launch whose blocks work in clusters.
class ClusterLaunch {
 public:
  ClusterLaunch(Stream& stream, dim3 cluster, dim3 grid, dim3 block, std::size_t shared_bytes) {
    attribute_.id = cudaLaunchAttributeClusterDimension;
    attribute_.val.clusterDim = {cluster.x, cluster.y, cluster.z};
    config_.gridDim = grid;
    config_.blockDim = block;
    config_.dynamicSmemBytes = shared_bytes;
    config_.stream = activate(stream);
    config_.attrs = &attribute_;
    config_.numAttrs = 1;
  }
  ClusterLaunch(const ClusterLaunch&) = delete;
  ClusterLaunch& operator=(const ClusterLaunch&) = delete;

  const cudaLaunchConfig_t& config() const noexcept { return config_; }

 private:
  cudaLaunchAttribute attribute_{};
  cudaLaunchConfig_t config_{};
};

/// As above for a kernel whose blocks work in clusters.
template <class... Parameters, class... Args>
void launch_clusters_on(Stream& stream, void (*kernel)(Parameters...), dim3 cluster, dim3 grid,
                        dim3 block, std::size_t shared_bytes, Args&&... args) {
  const ClusterLaunch launch(stream, cluster, grid, block, shared_bytes);
  check(cudaLaunchKernelEx(&launch.config(), kernel, std::forward<Args>(args)...),
        "cudaLaunchKernelEx");
}

/// Whether a kernel's code is for Hopper or later and runs on one: what stands behind __CUDA_ARCH__ >= 900 is in it.
template <class... Parameters>
bool has_hopper_code(Stream& stream, void (*kernel)(Parameters...)) {
  constexpr int kHopper = 9;
  if (backend_of_stream(stream).properties().major < kHopper) return false;
  cudaFuncAttributes code{};
  check(cudaFuncGetAttributes(&code, kernel), "cudaFuncGetAttributes");
  return code.ptxVersion >= 10 * kHopper;
}

/// How many such clusters the GPU runs at a time: 0 where it has none, or none of that size. More than 8 blocks are
/// allowed from here on.
template <class... Parameters>
int resident_clusters(Stream& stream, void (*kernel)(Parameters...), int cluster, dim3 block,
                      std::size_t shared_bytes = 0) {
  constexpr int kPortableCluster = 8;
  if (!has_hopper_code(stream, kernel)) return 0;
  const auto blocks = static_cast<unsigned>(cluster);
  const ClusterLaunch launch(stream, dim3(blocks), dim3(blocks), block, shared_bytes);
  int count = 0;
  cudaError_t status = cudaSuccess;
  if (cluster > kPortableCluster) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }
  if (status == cudaSuccess) {
    status = cudaOccupancyMaxActiveClusters(&count, kernel, &launch.config());
  }
  if (status == cudaSuccess) return count;
  cudaGetLastError();  // the answer is no
  return 0;
}

/// Enqueues kernel<<<grid, block, shared>>>(args...) on `queue`; early: it begins as soon as the kernel before it lets it;
/// cluster: of that many blocks, unless 0.
template <class... Parameters, class... Args>
void launch_early_if(bool early, int cluster, cudaStream_t queue, void (*kernel)(Parameters...),
                     dim3 grid, dim3 block, std::size_t shared_bytes, Args&&... args) {
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = queue;
  config.attrs = attributes;
  if (early) {
    cudaLaunchAttribute& order = attributes[config.numAttrs++];
    order.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    order.val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 0) {
    cudaLaunchAttribute& blocks = attributes[config.numAttrs++];
    blocks.id = cudaLaunchAttributeClusterDimension;
    blocks.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  }
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...), "cudaLaunchKernelEx");
}

/// As launch_on() for a kernel with Hopper code that may begin while the kernel before it in the stream still runs, as
/// soon as that one says so; it waits for that one's results itself (hopper_order.cuh).
template <class... Parameters, class... Args>
void launch_early_on(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                     std::size_t shared_bytes, Args&&... args) {
  launch_early_if(true, 0, activate(stream), kernel, grid, block, shared_bytes,
                  std::forward<Args>(args)...);
}

/// A kernel that begins, where the one in front of it in the stream is such a kernel too, before that one is over. It calls
/// hopper::let_next_begin(), each of its threads hopper::wait_for_previous() before it writes anything or reads anything but
/// `early` (hopper::overlap() is both).
///
/// All of them want multiprocessors to be cut alike between shared memory and cache: one that runs a kernel of another cut
/// takes no block of the next before that one is over.
struct Overlapping {
  std::span<const MemoryRange> written;  ///< all that it writes
  std::span<const MemoryRange> early;    ///< what it reads before it waits
  int cluster = 0;                       ///< blocks of a cluster; 0: none
};

/// As launch_on() for such a kernel.
template <class... Parameters, class... Args>
void launch_overlapping(Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                        std::size_t shared_bytes, const Overlapping& which, Args&&... args) {
  CudaStream& own = cuda_stream(stream);
  const CudaBackend& backend = own.backend();
  const bool admitted = backend.overlaps_kernels() && own.overlapping().admit(which.early);
  backend.make_current();
  if (backend.overlaps_kernels()) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared),
          "cudaFuncSetAttribute");
  }
  launch_early_if(admitted, which.cluster, own.handle(), kernel, grid, block, shared_bytes,
                  std::forward<Args>(args)...);
  own.overlapping().add(admitted, which.written);
}

}  // namespace wick::cuda

#include <cub/device/device_radix_sort.cuh>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/fault.cuh"
#include "backends/cuda/launch.cuh"
#include "runtime/args/embedding_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 128;

// Blocks loop over rows. An id out of range is reported and gives a row of zeros.
template <class T, class Id>
__global__ void embedding_kernel(std::int64_t N, std::int64_t D, std::int64_t V,
                                 std::int64_t weight_stride, const T* weight, const Id* ids, T* out,
                                 Fault* fault) {
  for (std::int64_t n = blockIdx.x; n < N; n += gridDim.x) {
    const auto id = static_cast<std::int64_t>(ids[n]);
    const bool valid = id >= 0 && id < V;
    if (!valid && threadIdx.x == 0) report_fault(fault, FaultKind::kEmbeddingId, n, id, V);
    for (std::int64_t d = threadIdx.x; d < D; d += kThreads) {
      out[n * D + d] = valid ? weight[id * weight_stride + d] : from_float<T>(0.0F);
    }
  }
}

template <class Id>
__global__ void number_positions_kernel(std::int64_t N, const Id* ids, std::int64_t* keys,
                                        std::int64_t* positions) {
  const std::int64_t n = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (n >= N) return;
  keys[n] = ids[n];
  positions[n] = n;
}

// Sorted stably by id, the positions of one row are neighbours in ascending order: the block of the first of
// them adds them up in that order.
template <class T>
__global__ void embedding_backward_kernel(std::int64_t N, std::int64_t D, const std::int64_t* ids,
                                          const std::int64_t* positions, const T* dy, T* dweight) {
  for (std::int64_t first = blockIdx.x; first < N; first += gridDim.x) {
    const std::int64_t id = ids[first];
    if (first > 0 && ids[first - 1] == id) continue;
    for (std::int64_t d = threadIdx.x; d < D; d += kThreads) {
      float total = 0;
      for (std::int64_t n = first; n < N && ids[n] == id; ++n) {
        total += to_float(dy[positions[n] * D + d]);
      }
      dweight[id * D + d] = from_float<T>(total);
    }
  }
}

// The four arrays of N numbers that the sort reads and writes.
struct Sorted {
  explicit Sorted(Stream& stream, std::int64_t N)
      : memory(stream, 4 * static_cast<std::size_t>(N) * sizeof(std::int64_t)), count(N) {}
  std::int64_t* part(int which) const { return memory.as<std::int64_t>() + which * count; }
  std::int64_t* keys() const { return part(0); }
  std::int64_t* positions() const { return part(1); }
  std::int64_t* sorted_keys() const { return part(2); }
  std::int64_t* sorted_positions() const { return part(3); }

  Scratch memory;
  std::int64_t count;
};

void sort_by_id(Stream& stream, const Sorted& arrays, std::int64_t V) {
  int bits = 1;
  while (bits < 62 && (std::int64_t{1} << bits) < V) ++bits;
  const auto sort = [&](void* memory, std::size_t& bytes) {
    check(cub::DeviceRadixSort::SortPairs(memory, bytes, arrays.keys(), arrays.sorted_keys(),
                                          arrays.positions(), arrays.sorted_positions(),
                                          arrays.count, 0, bits, activate(stream)),
          "sort");
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  const Scratch memory(stream, bytes);
  sort(memory.data(), bytes);
}

}  // namespace

KernelStatus embedding(Stream& stream, const EmbeddingArgs& args) {
  const std::int64_t N = args.ids.numel();
  const std::int64_t D = args.weight.dim(1);
  if (N == 0 || D == 0) return KernelStatus::ok();
  switch_index(args.ids.dtype, [&]<class Id>(std::type_identity<Id>) {
    switch_floating(args.weight.dtype, [&]<class T>(std::type_identity<T>) {
      launch_on(stream, &embedding_kernel<T, Id>, grid_of(stream, N, 1, 16), kThreads, 0, N, D,
                args.weight.dim(0), args.weight.stride(0), data_of<const T>(args.weight),
                data_of<const Id>(args.ids), data_of<T>(args.out),
                backend_of_stream(stream).fault());
    });
  });
  return KernelStatus::ok();
}

KernelStatus embedding_backward(Stream& stream, const EmbeddingBackwardArgs& args) {
  const std::int64_t N = args.ids.numel();
  const std::int64_t D = args.dweight.dim(1);
  if (args.dweight.numel() == 0) return KernelStatus::ok();
  const std::size_t bytes =
      static_cast<std::size_t>(args.dweight.numel()) * size_of(args.dweight.dtype);
  check(cudaMemsetAsync(args.dweight.data, 0, bytes, activate(stream)), "embedding_backward");
  if (N == 0) return KernelStatus::ok();
  const Sorted arrays(stream, N);
  switch_index(args.ids.dtype, [&]<class Id>(std::type_identity<Id>) {
    launch_on(stream, &number_positions_kernel<Id>, static_cast<unsigned>(ceil_div(N, kThreads)),
              kThreads, 0, N, data_of<const Id>(args.ids), arrays.keys(), arrays.positions());
  });
  sort_by_id(stream, arrays, args.dweight.dim(0));
  switch_floating(args.dweight.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &embedding_backward_kernel<T>, grid_of(stream, N, 1, 16), kThreads, 0, N, D,
              static_cast<const std::int64_t*>(arrays.sorted_keys()),
              static_cast<const std::int64_t*>(arrays.sorted_positions()),
              data_of<const T>(args.dy), data_of<T>(args.dweight));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

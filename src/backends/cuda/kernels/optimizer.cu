#include <cmath>
#include <span>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/launch.cuh"
#include "runtime/args/optimizer_args.hpp"

namespace wick::cuda {

namespace {

// Kernels over many tensors at once: an adapter has hundreds of small ones. Their addresses travel with the
// launch, as many as its parameters hold, and a block takes a piece of one tensor.
constexpr int kThreads = 256;
constexpr std::int64_t kElementsPerBlock = 4096;
constexpr int kTensorsPerLaunch = 64;  // 4 KB of parameters: what every driver takes

struct Entry {
  void* data[4];
  std::int64_t numel;
  std::int32_t first_block;
  DType dtypes[2];
};

struct Table {
  Entry entries[kTensorsPerLaunch];
  int count = 0;
  int blocks = 0;

  void add(Entry entry) {
    entry.first_block = blocks;
    entries[count++] = entry;
    blocks += static_cast<int>(ceil_div(entry.numel, kElementsPerBlock));
  }

  // The tensor that a block belongs to: the last that starts at it or before.
  __device__ const Entry& entry_of(int block) const {
    int low = 0;
    int high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (entries[middle].first_block <= block) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return entries[low];
  }
};

// Calls body(i) for the elements of the block's piece.
template <class Body>
__device__ void for_each_element(const Entry& entry, const Body& body) {
  const std::int64_t begin = (blockIdx.x - entry.first_block) * kElementsPerBlock;
  const std::int64_t end =
      begin + kElementsPerBlock < entry.numel ? begin + kElementsPerBlock : entry.numel;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) body(i);
}

// Calls f(std::type_identity<T>{}) on the device.
template <class F>
__device__ void switch_on(DType dtype, const F& f) {
  if (dtype == DType::kF32) {
    f(static_cast<float*>(nullptr));
  } else if (dtype == DType::kF16) {
    f(static_cast<half*>(nullptr));
  } else {
    f(static_cast<bfloat16*>(nullptr));
  }
}

// Launches over tables of at most kTensorsPerLaunch tensors; start(table) enqueues one.
template <class Tensor, class MakeEntry, class Start>
void for_each_table(std::span<const Tensor> tensors, const MakeEntry& make, const Start& start) {
  Table table;
  for (const Tensor& tensor : tensors) {
    const Entry entry = make(tensor);
    if (entry.numel == 0) continue;
    table.add(entry);
    if (table.count < kTensorsPerLaunch) continue;
    start(table);
    table = {};
  }
  if (table.count > 0) start(table);
}

Entry entry_of(const TensorView& tensor) {
  return {.data = {tensor.data},
          .numel = tensor.numel(),
          .first_block = 0,
          .dtypes = {tensor.dtype, tensor.dtype}};
}

// ---- AdamW --------------------------------------------------------------------------------------

struct Constants {
  double lr, beta1, beta2, eps, weight_decay;
  std::int64_t step;
  const float* lr_tensor;
  const std::int64_t* step_tensor;
};

// The numbers of a step, rounded once to f32 after they were computed in f64.
struct StepNumbers {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float corrected_lr, inverse_correction_2, eps, decay;
};

__device__ StepNumbers numbers_of(const Constants& c) {
  const double lr = c.lr_tensor == nullptr ? c.lr : static_cast<double>(*c.lr_tensor);
  const auto t = static_cast<double>(c.step_tensor == nullptr ? c.step : *c.step_tensor);
  return {static_cast<float>(c.beta1),
          static_cast<float>(1.0 - c.beta1),
          static_cast<float>(c.beta2),
          static_cast<float>(1.0 - c.beta2),
          static_cast<float>(lr / (1.0 - pow(c.beta1, t))),
          static_cast<float>(1.0 / (1.0 - pow(c.beta2, t))),
          static_cast<float>(c.eps),
          static_cast<float>(lr * c.weight_decay)};
}

template <class P, class G>
__device__ void update(const StepNumbers& s, P& param, G grad, float& m, float& v) {
  const float g = to_float(grad);
  const float p = to_float(param);
  m = fmaf(m, s.beta1, g * s.one_minus_beta1);
  v = fmaf(v, s.beta2, g * g * s.one_minus_beta2);
  const float root = sqrtf(v * s.inverse_correction_2);
  const float change = fmaf(m / (root + s.eps), s.corrected_lr, p * s.decay);
  param = from_float<P>(p - change);
}

__global__ void adamw_kernel(const __grid_constant__ Table table, Constants constants) {
  __shared__ StepNumbers numbers;  // powers in f64 once a block
  if (threadIdx.x == 0) numbers = numbers_of(constants);
  __syncthreads();
  const Entry& entry = table.entry_of(static_cast<int>(blockIdx.x));
  float* const m = static_cast<float*>(entry.data[2]);
  float* const v = static_cast<float*>(entry.data[3]);
  switch_on(entry.dtypes[0], [&]<class P>(P*) {
    switch_on(entry.dtypes[1], [&]<class G>(G*) {
      P* const param = static_cast<P*>(entry.data[0]);
      const G* const grad = static_cast<const G*>(entry.data[1]);
      for_each_element(entry,
                       [&](std::int64_t i) { update(numbers, param[i], grad[i], m[i], v[i]); });
    });
  });
}

// ---- The gradient norm --------------------------------------------------------------------------

__device__ double block_sum(double value) {
  __shared__ double partial[kThreads];
  partial[threadIdx.x] = value;
  __syncthreads();
  for (int half_size = kThreads / 2; half_size > 0; half_size /= 2) {
    if (threadIdx.x < half_size) partial[threadIdx.x] += partial[threadIdx.x + half_size];
    __syncthreads();
  }
  return partial[0];
}

// In f64: squares of large gradients would overflow f32.
__global__ void squares_kernel(const __grid_constant__ Table table, double* partial) {
  const Entry& entry = table.entry_of(static_cast<int>(blockIdx.x));
  double total = 0;
  switch_on(entry.dtypes[0], [&]<class T>(T*) {
    const T* const x = static_cast<const T*>(entry.data[0]);
    for_each_element(entry, [&](std::int64_t i) {
      const auto value = static_cast<double>(to_float(x[i]));
      total += value * value;
    });
  });
  total = block_sum(total);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

__global__ void norm_kernel(std::int64_t count, const double* partial, float* out) {
  double total = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) total += partial[i];
  total = block_sum(total);
  if (threadIdx.x == 0) *out = static_cast<float>(sqrt(total));
}

__global__ void clip_kernel(const __grid_constant__ Table table, const float* norm,
                            double max_norm) {
  const double factor = max_norm / (static_cast<double>(*norm) + 1e-6);
  if (factor >= 1) return;  // not so for NaN, which must reach the caller
  const auto rounded = static_cast<float>(factor);
  const Entry& entry = table.entry_of(static_cast<int>(blockIdx.x));
  switch_on(entry.dtypes[0], [&]<class T>(T*) {
    T* const x = static_cast<T*>(entry.data[0]);
    for_each_element(entry,
                     [&](std::int64_t i) { x[i] = from_float<T>(to_float(x[i]) * rounded); });
  });
}

unsigned blocks_of(const Table& table) { return static_cast<unsigned>(table.blocks); }

}  // namespace

KernelStatus adamw(Stream& stream, const AdamwArgs& args) {
  const Constants constants{args.lr,
                            args.beta1,
                            args.beta2,
                            args.eps,
                            args.weight_decay,
                            args.step,
                            data_of<const float>(args.lr_tensor),
                            data_of<const std::int64_t>(args.step_tensor)};
  const auto make = [](const AdamwTensor& t) {
    return Entry{.data = {t.param.data, t.grad.data, t.m.data, t.v.data},
                 .numel = t.param.numel(),
                 .first_block = 0,
                 .dtypes = {t.param.dtype, t.grad.dtype}};
  };
  for_each_table(args.tensors, make, [&](const Table& table) {
    launch_on(stream, &adamw_kernel, blocks_of(table), kThreads, 0, table, constants);
  });
  return KernelStatus::ok();
}

KernelStatus global_norm(Stream& stream, const GlobalNormArgs& args) {
  std::int64_t blocks = 0;
  for (const TensorView& tensor : args.tensors) {
    blocks += ceil_div(tensor.numel(), kElementsPerBlock);
  }
  const Scratch partial(stream, static_cast<std::size_t>(blocks) * sizeof(double));
  double* next = partial.as<double>();
  for_each_table(args.tensors, entry_of, [&](const Table& table) {
    launch_on(stream, &squares_kernel, blocks_of(table), kThreads, 0, table, next);
    next += table.blocks;
  });
  launch_on(stream, &norm_kernel, 1, kThreads, 0, blocks,
            static_cast<const double*>(partial.as<double>()), data_of<float>(args.out));
  return KernelStatus::ok();
}

KernelStatus clip_by_norm(Stream& stream, const ClipByNormArgs& args) {
  const float* const norm = data_of<const float>(args.norm);
  for_each_table(args.tensors, entry_of, [&](const Table& table) {
    launch_on(stream, &clip_kernel, blocks_of(table), kThreads, 0, table, norm, args.max_norm);
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#include "backends/cuda/activation_math.cuh"
#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/tiles.cuh"
#include "runtime/args/elementwise_args.hpp"

namespace wick::cuda {

namespace {

// ---- Functions of one element: operands to results --------------------------------------------------

template <class F>
struct Value {
  static constexpr int kIn = 1;
  static constexpr int kOut = 1;
  template <class T>
  static __device__ __forceinline__ void apply(const float (&in)[kIn], float (&out)[kOut]) {
    out[0] = F::template value<T>(in[0]);
  }
};

// dy, x to dx.
template <class F>
struct Derivative {
  static constexpr int kIn = 2;
  static constexpr int kOut = 1;
  template <class T>
  static __device__ __forceinline__ void apply(const float (&in)[kIn], float (&out)[kOut]) {
    out[0] = in[0] * F::template derivative<T>(in[1]);
  }
};

// gate, up to silu(gate) · up.
struct Swiglu {
  static constexpr int kIn = 2;
  static constexpr int kOut = 1;
  template <class T>
  static __device__ __forceinline__ void apply(const float (&in)[kIn], float (&out)[kOut]) {
    out[0] = Silu::value<T>(in[0]) * in[1];
  }
};

// dy, gate, up to dgate, dup. One exponential serves both.
struct SwigluBackward {
  static constexpr int kIn = 3;
  static constexpr int kOut = 2;
  template <class T>
  static __device__ __forceinline__ void apply(const float (&in)[kIn], float (&out)[kOut]) {
    out[0] = in[0] * in[2] * Silu::derivative<T>(in[1]);
    out[1] = in[0] * Silu::value<T>(in[1]);
  }
};

// ---- Kernels ------------------------------------------------------------------------------------

// [R,D] each: operands with rows `stride` apart, results dense; a result may be null.
template <class T, class F>
struct Elements {
  const T* in[F::kIn];
  std::int64_t stride[F::kIn];
  T* out[F::kOut];
  std::int64_t R;
  std::int64_t D;
};

template <class F>
constexpr int kPacksOf = F::kIn == 1   ? 4
                         : F::kIn == 2 ? 2
                                       : 1;

template <class F, int kVec, class T>
using TileOf = Tile<T, kVec, kPacksOf<F>>;

// The elements of the last, incomplete pack of a dense tensor.
template <class F, int kVec, class T>
__device__ void apply_to_rest(const Elements<T, F>& a) {
  const std::int64_t i = a.D / kVec * kVec + threadIdx.x;
  if (i >= a.D) return;
  float in[F::kIn];
  float out[F::kOut];
  for (int k = 0; k < F::kIn; ++k) in[k] = to_float(a.in[k][i]);
  F::template apply<T>(in, out);
  for (int k = 0; k < F::kOut; ++k) {
    if (a.out[k] != nullptr) a.out[k][i] = from_float<T>(out[k]);
  }
}

template <class F, int kVec, class T>
__global__ void __launch_bounds__(kTileThreads) apply_tiles(Elements<T, F> a) {
  hopper::overlap();
  const TileOf<F, kVec, T> tile(a.D / kVec * kVec);
  Raw<kVec, T> packs[F::kIn][kPacksOf<F>];
#pragma unroll
  for (int k = 0; k < F::kIn; ++k) tile.load(a.in[k] + tile.row * a.stride[k], packs[k]);
  tile.for_each([&](int i, std::int64_t column) {
    float results[F::kOut][kVec];
#pragma unroll
    for (int j = 0; j < kVec; ++j) {
      float in[F::kIn];
      float out[F::kOut];
#pragma unroll
      for (int k = 0; k < F::kIn; ++k) in[k] = packs[k][i].get(j);
      F::template apply<T>(in, out);
#pragma unroll
      for (int k = 0; k < F::kOut; ++k) results[k][j] = out[k];
    }
#pragma unroll
    for (int k = 0; k < F::kOut; ++k) {
      if (a.out[k] != nullptr) store_values<kVec>(a.out[k] + tile.row * a.D + column, results[k]);
    }
  });
  if constexpr (kVec > 1) {
    if (blockIdx.x == 0) apply_to_rest<F, kVec>(a);
  }
}

// ---- Launches -----------------------------------------------------------------------------------

template <class F, class T>
void launch_elements(Stream& stream, Elements<T, F> a) {
  if (a.R == 0 || a.D == 0) return;
  bool dense = true;
  for (const std::int64_t stride : a.stride) dense = dense && (stride == a.D || a.R == 1);
  if (dense) {
    a.D *= a.R;
    a.R = 1;
  }
  constexpr int kWide = kPackSize<T>;
  bool wide = a.R == 1 ? a.D >= kWide : a.D % kWide == 0;
  for (int k = 0; k < F::kIn; ++k) {
    wide = wide && rows_aligned(a.in[k], sizeof(T), a.stride[k], a.R);
  }
  for (T* const out : a.out) wide = wide && is_aligned(out, 16);
  MemoryRange written[F::kOut];
  for (int k = 0; k < F::kOut; ++k) {
    const std::int64_t elements = a.out[k] == nullptr ? 0 : a.R * a.D;
    written[k] = {a.out[k], static_cast<std::size_t>(elements) * sizeof(T)};
  }
  if (wide) {
    launch_overlapping(stream, apply_tiles<F, kWide, T>,
                       tile_grid<TileOf<F, kWide, T>>(a.R, a.D / kWide * kWide), dim3(kTileThreads),
                       0, {.written = written}, a);
  } else {
    launch_overlapping(stream, apply_tiles<F, 1, T>, tile_grid<TileOf<F, 1, T>>(a.R, a.D),
                       dim3(kTileThreads), 0, {.written = written}, a);
  }
}

// out = f(x), dense.
template <class F>
void launch_value(Stream& stream, const TensorView& x, const TensorView& out) {
  switch_floating(x.dtype, [&]<class T>(std::type_identity<T>) {
    launch_elements(
        stream,
        Elements<T, Value<F>>{{data_of<const T>(x)}, {x.numel()}, {data_of<T>(out)}, 1, x.numel()});
  });
}

// dx = dy · f'(x), dense.
template <class F>
void launch_derivative(Stream& stream, const TensorView& dy, const TensorView& x,
                       const TensorView& dx) {
  const std::int64_t n = x.numel();
  switch_floating(x.dtype, [&]<class T>(std::type_identity<T>) {
    launch_elements(
        stream, Elements<T, Derivative<F>>{
                    {data_of<const T>(dy), data_of<const T>(x)}, {n, n}, {data_of<T>(dx)}, 1, n});
  });
}

}  // namespace

KernelStatus silu(Stream& stream, const UnaryArgs& args) {
  launch_value<Silu>(stream, args.x, args.out);
  return KernelStatus::ok();
}

KernelStatus silu_backward(Stream& stream, const UnaryBackwardArgs& args) {
  launch_derivative<Silu>(stream, args.dy, args.x, args.dx);
  return KernelStatus::ok();
}

KernelStatus gelu(Stream& stream, const GeluArgs& args) {
  if (args.tanh_approximation) {
    launch_value<GeluTanh>(stream, args.x, args.out);
  } else {
    launch_value<GeluErf>(stream, args.x, args.out);
  }
  return KernelStatus::ok();
}

KernelStatus gelu_backward(Stream& stream, const GeluBackwardArgs& args) {
  if (args.tanh_approximation) {
    launch_derivative<GeluTanh>(stream, args.dy, args.x, args.dx);
  } else {
    launch_derivative<GeluErf>(stream, args.dy, args.x, args.dx);
  }
  return KernelStatus::ok();
}

KernelStatus swiglu(Stream& stream, const SwigluArgs& args) {
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    launch_elements(stream,
                    Elements<T, Swiglu>{{data_of<const T>(args.gate), data_of<const T>(args.up)},
                                        {args.gate.stride(0), args.up.stride(0)},
                                        {data_of<T>(args.out)},
                                        args.out.dim(0),
                                        args.out.dim(1)});
  });
  return KernelStatus::ok();
}

KernelStatus swiglu_backward(Stream& stream, const SwigluBackwardArgs& args) {
  switch_floating(args.dy.dtype, [&]<class T>(std::type_identity<T>) {
    launch_elements(stream, Elements<T, SwigluBackward>{
                                {data_of<const T>(args.dy), data_of<const T>(args.gate),
                                 data_of<const T>(args.up)},
                                {args.dy.stride(0), args.gate.stride(0), args.up.stride(0)},
                                {data_of<T>(args.dgate), data_of<T>(args.dup)},
                                args.dy.dim(0),
                                args.dy.dim(1)});
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

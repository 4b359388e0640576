#include <optional>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/dense_products.hpp"
#include "backends/cuda/elementwise.cuh"
#include "backends/cuda/few_rows.hpp"
#include "backends/cuda/narrow_products.hpp"
#include "backends/cuda/strided.cuh"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/matmul_args.hpp"
#include "runtime/variants.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cuda {

namespace {

// ---- The simple kernel: every dtype, every stride -----------------------------------------------

constexpr int kTile = 16;

// An element of any floating dtype: the kernel is for what nothing faster takes, so it is compiled once.
__device__ float load_any(const void* data, DType dtype, std::int64_t i) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[i];
  if (dtype == DType::kF16) return to_float(static_cast<const half*>(data)[i]);
  return to_float(static_cast<const bfloat16*>(data)[i]);
}

__device__ void store_any(void* data, DType dtype, std::int64_t i, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else if (dtype == DType::kF16) {
    static_cast<half*>(data)[i] = from_float<half>(value);
  } else {
    static_cast<bfloat16*>(data)[i] = from_float<bfloat16>(value);
  }
}

// A block makes a tile of c for every batch that it meets.
__global__ void simple_kernel(Product p) {
  __shared__ float a_tile[kTile][kTile + 1];
  __shared__ float b_tile[kTile][kTile + 1];
  const int tx = static_cast<int>(threadIdx.x);
  const int ty = static_cast<int>(threadIdx.y);
  const std::int64_t row_tiles = (p.M + kTile - 1) / kTile;
  const std::int64_t tiles = p.G * row_tiles;
  const std::int64_t column = std::int64_t{blockIdx.x} * kTile + tx;
  for (std::int64_t tile = blockIdx.y; tile < tiles; tile += gridDim.y) {
    const std::int64_t g = tile / row_tiles;
    const std::int64_t row = tile % row_tiles * kTile + ty;
    float total = 0;
    for (std::int64_t k = 0; k < p.K; k += kTile) {
      const bool in_a = row < p.M && k + tx < p.K;
      const bool in_b = column < p.N && k + ty < p.K;
      a_tile[ty][tx] =
          in_a
              ? load_any(p.a.data, p.a.dtype,
                         g * p.a.batch_stride + row * p.a.row_stride + (k + tx) * p.a.column_stride)
              : 0.0F;
      b_tile[ty][tx] = in_b ? load_any(p.b.data, p.b.dtype,
                                       g * p.b.batch_stride + (k + ty) * p.b.row_stride +
                                           column * p.b.column_stride)
                            : 0.0F;
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kTile; ++i) total += a_tile[ty][i] * b_tile[i][tx];
      __syncthreads();
    }
    if (row >= p.M || column >= p.N) continue;
    const std::int64_t at = g * p.c_batch_stride + row * p.c_row_stride + column;
    float value = p.alpha * total;
    if (p.beta != 0) value += p.beta * load_any(p.c, p.c_dtype, at);
    if (p.bias != nullptr) value += load_any(p.bias, p.c_dtype, column);
    store_any(p.c, p.c_dtype, at, value);
  }
}

KernelStatus run_simple(Stream& stream, const Product& p) {
  const std::int64_t tiles = p.G * ceil_div(p.M, kTile);
  constexpr std::int64_t kMostBlocks = 65535;
  const dim3 grid(static_cast<unsigned>(ceil_div(p.N, kTile)),
                  static_cast<unsigned>(std::min(tiles, kMostBlocks)));
  launch_on(stream, &simple_kernel, grid, dim3(kTile, kTile), 0, p);
  return KernelStatus::ok();
}

// ---- cuBLASLt, with operands as it wants them ---------------------------------------------------

// A dense copy of an operand in another dtype, when one is needed.
class Prepared {
 public:
  Prepared(Stream& stream, const Matrix& given, DType dtype, std::int64_t G, std::int64_t rows,
           std::int64_t columns)
      : matrix_(given) {
    if (given.dtype == dtype && is_matrix(given, rows, columns)) return;
    const bool shared = given.batch_stride == 0;
    const std::int64_t batches = shared ? 1 : G;
    memory_.emplace(stream, static_cast<std::size_t>(batches * rows * columns) * size_of(dtype));
    // Kept along the axis that is dense, so that the copy goes through memory in order.
    const bool transposed = given.column_stride != 1 && given.row_stride == 1;
    const Shape shape{batches, rows, columns};
    matrix_ = {.data = memory_->data(),
               .dtype = dtype,
               .row_stride = transposed ? 1 : columns,
               .column_stride = transposed ? rows : 1,
               .batch_stride = shared ? 0 : rows * columns};
    const auto view = [&](const Matrix& m, void* data) {
      return TensorView{.data = data,
                        .dtype = m.dtype,
                        .shape = shape,
                        .strides = {rows * columns, m.row_stride, m.column_stride},
                        .device = stream.device(),
                        .present = true};
    };
    TensorView source = view(given, given.data);
    source.strides[0] = given.batch_stride;
    const KernelStatus copied =
        copy(stream, {.src = source, .dst = view(matrix_, memory_->data())});
    detail::check(copied.is_ok(), "a copy between floating dtypes was refused");
  }

  const Matrix& matrix() const noexcept { return matrix_; }

 private:
  static bool is_matrix(const Matrix& m, std::int64_t rows, std::int64_t columns) {
    const bool by_rows =
        (m.column_stride == 1 || columns == 1) && (m.row_stride >= columns || rows == 1);
    const bool by_columns =
        (m.row_stride == 1 || rows == 1) && (m.column_stride >= rows || columns == 1);
    return by_rows || by_columns;
  }

  Matrix matrix_;
  std::optional<Scratch> memory_;
};

// The one dtype of both operands.
DType common_dtype(const Product& p) {
  if (p.a.dtype == p.b.dtype) return p.a.dtype;
  return DType::kF32;
}

// What cuBLASLt does not do, or not with one rounding, into f32 and from there into the dtype asked for.
KernelStatus run_through_f32(Stream& stream, const Product& p) {
  const Shape shape{p.G, p.M, p.N};
  const auto view = [&](void* data, DType dtype, std::int64_t batch_stride,
                        std::int64_t row_stride) {
    return TensorView{.data = data,
                      .dtype = dtype,
                      .shape = shape,
                      .strides = {batch_stride, row_stride, 1},
                      .device = stream.device(),
                      .present = true};
  };
  const Scratch total(stream, static_cast<std::size_t>(p.G * p.M * p.N) * sizeof(float));
  const Scratch bias(stream, p.bias == nullptr ? 0 : static_cast<std::size_t>(p.N) * sizeof(float));
  const TensorView in_f32 = view(total.data(), DType::kF32, p.M * p.N, p.N);
  const TensorView result = view(p.c, p.c_dtype, p.c_batch_stride, p.c_row_stride);
  Product call = p;
  call.c = total.data();
  call.c_dtype = DType::kF32;
  call.c_row_stride = p.N;
  call.c_batch_stride = p.M * p.N;
  if (p.bias != nullptr) {
    convert(stream, p.bias, p.c_dtype, bias.data(), DType::kF32, p.N);
    call.bias = bias.data();
  }
  if (p.beta != 0) copy(stream, {.src = result, .dst = in_f32});
  const KernelStatus status = backend_of_stream(stream).products().run(stream, call);
  return status.is_ok() ? copy(stream, {.src = in_f32, .dst = result}) : status;
}

KernelStatus run_cublaslt(Stream& stream, const Product& p) {
  const DType dtype = common_dtype(p);
  const Prepared a(stream, p.a, dtype, p.G, p.M, p.K);
  const Prepared b(stream, p.b, dtype, p.G, p.K, p.N);
  Product call = p;
  call.a = a.matrix();
  call.b = b.matrix();
  // Its kernels for 16-bit results round the product before they add beta · c.
  const bool rounds_once = p.c_dtype == DType::kF32 || (p.c_dtype == dtype && p.beta == 0);
  return rounds_once ? backend_of_stream(stream).products().run(stream, call)
                     : run_through_f32(stream, call);
}

// ---- Empty sums ---------------------------------------------------------------------------------

__global__ void no_terms_kernel(Product p) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.G * p.M * p.N;
       i += step) {
    const std::int64_t column = i % p.N;
    const std::int64_t row = i / p.N % p.M;
    const std::int64_t at = i / p.N / p.M * p.c_batch_stride + row * p.c_row_stride + column;
    float value = p.beta == 0 ? 0.0F : p.beta * load_any(p.c, p.c_dtype, at);
    if (p.bias != nullptr) value += load_any(p.bias, p.c_dtype, column);
    store_any(p.c, p.c_dtype, at, value);
  }
}

// ---- A few rows by a matrix stored by columns: decoding -----------------------------------------

KernelStatus run_few_rows(Stream& stream, const Product& p) {
  const bool by_rows = (p.a.row_stride == p.K || p.M == 1) && p.a.column_stride == 1;
  const bool by_columns = (p.b.column_stride == p.K || p.N == 1) && p.b.row_stride == 1;
  if (p.G != 1 || p.alpha != 1 || p.beta != 0 || !by_rows || !by_columns ||
      (p.c_row_stride != p.N && p.M != 1)) {
    return KernelStatus::unsupported("not a dense product x wᵀ");
  }
  const FewRows product{.M = p.M,
                        .N = p.N,
                        .K = p.K,
                        .x = p.a.data,
                        .x_dtype = p.a.dtype,
                        .w = p.b.data,
                        .w_dtype = p.b.dtype,
                        .bias = p.bias,
                        .out = p.c,
                        .out_dtype = p.c_dtype};
  if (is_better_by_cublaslt(product) && forced_variant("matmul").empty()) {
    return KernelStatus::unsupported("more than two rows of a large matrix");
  }
  return multiply_few_rows(stream, product);
}

constexpr Variant<Product> kVariants[] = {{"few_rows", run_few_rows},
                                          {"narrow", multiply_narrow},
                                          {"cublaslt", run_cublaslt},
                                          {"simple", run_simple}};

}  // namespace

KernelStatus multiply(Stream& stream, const Product& p) {
  const std::int64_t results = p.G * p.M * p.N;
  if (results == 0) return KernelStatus::ok();
  if (p.K > 0) return run_variants<Product>("matmul", kVariants, stream, p);
  launch_on(stream, &no_terms_kernel, grid_of(stream, results, kElementwiseThreads),
            kElementwiseThreads, 0, p);
  return KernelStatus::ok();
}

KernelStatus matmul(Stream& stream, const MatmulArgs& args) {
  const auto matrix = [](const TensorView& x) {
    return Matrix{.data = x.data,
                  .dtype = x.dtype,
                  .row_stride = x.stride(1),
                  .column_stride = x.stride(2),
                  .batch_stride = x.stride(0)};
  };
  return multiply(stream, {.G = args.c.dim(0),
                           .M = args.c.dim(1),
                           .N = args.c.dim(2),
                           .K = args.a.dim(2),
                           .a = matrix(args.a),
                           .b = matrix(args.b),
                           .c = args.c.data,
                           .c_dtype = args.c.dtype,
                           .c_row_stride = args.c.stride(1),
                           .c_batch_stride = args.c.stride(0),
                           .alpha = args.alpha,
                           .beta = args.beta});
}

}  // namespace wick::cuda

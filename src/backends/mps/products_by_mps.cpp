#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "backends/mps/mps_calls.hpp"
#include "backends/mps/products.hpp"
#include "wick/base/error.hpp"

namespace wick::mps {

namespace {

namespace mps_api = apple::mps;

// A matrix as MPS sees it: rows that neighbour elements, maybe of the transposed one.
struct MpsOperand {
  bool transposed = false;
  std::int64_t step = 0;  // between rows as they lie
};

std::optional<MpsOperand> operand_of(const Matrix& m, std::int64_t rows, std::int64_t columns) {
  if ((m.column_stride == 1 || columns == 1) && (m.row_stride >= columns || rows == 1)) {
    return MpsOperand{false, rows == 1 ? columns : m.row_stride};
  }
  if ((m.row_stride == 1 || rows == 1) && (m.column_stride >= rows || columns == 1)) {
    return MpsOperand{true, columns == 1 ? rows : m.column_stride};
  }
  return std::nullopt;
}

std::int64_t key_of_dtypes(const Product& p) {
  return static_cast<std::int64_t>(p.a.dtype) * 64 + static_cast<std::int64_t>(p.b.dtype) * 8 +
         static_cast<std::int64_t>(p.c_dtype);
}

std::int64_t key_of(float factor) { return std::bit_cast<std::int32_t>(factor); }

std::uint64_t size(std::int64_t count) { return static_cast<std::uint64_t>(count); }

constexpr const char* kStrides = "strides that MPS does not know";

// What no kernel of MPS takes.
std::string common_refusal(const Product& p) {
  if (p.R > 0 || p.bias != nullptr) return "MPS adds neither bias nor update";
  if (p.K == 0) return "an empty sum";
  for (const DType dtype : {p.a.dtype, p.b.dtype, p.c_dtype}) {
    if (!is_known_to_mps(dtype)) return "MPS multiplies f32 and f16 only";
  }
  const float most = p.c_dtype == DType::kF16 ? 65504.0F : std::numeric_limits<float>::max();
  if (!(std::abs(p.alpha) <= most && std::abs(p.beta) <= most)) {
    return "a factor that the result's dtype does not hold";
  }
  return {};
}

// Beyond it MPS is known to give wrong results, and these kernels are not cut.
bool is_short(std::initializer_list<std::int64_t> sizes) {
  constexpr std::int64_t kMostLength = 32766;
  return std::ranges::all_of(sizes, [](std::int64_t n) { return n <= kMostLength; });
}

// ---- MPSMatrixMultiplication

// Matrices of a batch lie whole rows apart.
bool batch_fits(std::int64_t G, std::int64_t batch_stride, std::int64_t rows, std::int64_t step) {
  return G == 1 || (batch_stride % step == 0 && batch_stride >= rows * step);
}

struct MatrixEntry {
  mps_api::MatrixMultiplication kernel;
  mps_api::MatrixDescriptor left, right, result;
};

// A product with its operands as MPS sees them.
struct MpsProduct {
  const Product& p;
  MpsOperand a, b;

  std::int64_t c_step() const { return p.M == 1 ? p.N : p.c_row_stride; }

  std::string refusal() const {
    const bool types_fit =
        p.a.dtype == DType::kF32 ? p.c_dtype == DType::kF32 : p.b.dtype == DType::kF16;
    if (!types_fit) return "MPS does not multiply these dtypes";
    if (c_step() < p.N || !batch_fits(p.G, p.c_batch_stride, p.M, c_step()) ||
        !batch_fits(p.G, p.a.batch_stride, a.transposed ? p.K : p.M, a.step) ||
        !batch_fits(p.G, p.b.batch_stride, b.transposed ? p.N : p.K, b.step)) {
      return kStrides;
    }
    return {};
  }

  KernelCache::Key key() const {
    return {p.G,
            p.M,
            p.N,
            p.K,
            a.transposed ? 1 : 0,
            b.transposed ? 1 : 0,
            a.step,
            b.step,
            p.c_row_stride,
            p.a.batch_stride,
            p.b.batch_stride,
            p.c_batch_stride,
            key_of_dtypes(p),
            key_of(p.alpha),
            key_of(p.beta)};
  }

  MatrixEntry make(const apple::metal::Device& device) const {
    const auto lying = [&](const Matrix& m, const MpsOperand& as, std::int64_t rows,
                           std::int64_t columns) {
      return describe_matrix(m.dtype, as.transposed ? columns : rows,
                             as.transposed ? rows : columns, as.step, p.G, m.batch_stride);
    };
    return {.kernel = mps_api::MatrixMultiplication(device, size(p.M), size(p.N), size(p.K),
                                                    {.transpose_left = a.transposed,
                                                     .transpose_right = b.transposed,
                                                     .alpha = double{p.alpha},
                                                     .beta = double{p.beta}}),
            .left = lying(p.a, a, p.M, p.K),
            .right = lying(p.b, b, p.K, p.N),
            .result = describe_matrix(p.c_dtype, p.M, p.N, c_step(), p.G, p.c_batch_stride)};
  }
};

// ---- MPSMatrixVectorMultiplication

struct VectorEntry {
  mps_api::MatrixVectorMultiplication kernel;
  mps_api::MatrixDescriptor matrix;
  mps_api::VectorDescriptor input, result;
};

// A product of one row or one column as result [rows] = op(matrix) [rows,K] input [K].
struct VectorProduct {
  const Product& p;
  bool is_row;  // (a b)ᵀ = bᵀ aᵀ

  const Matrix& matrix() const { return is_row ? p.b : p.a; }
  const Matrix& input() const { return is_row ? p.a : p.b; }
  std::int64_t rows() const { return is_row ? p.N : p.M; }

  std::optional<MpsOperand> operand() const {
    Matrix m = matrix();
    if (is_row) std::swap(m.row_stride, m.column_stride);
    return operand_of(m, rows(), p.K);
  }

  std::string refusal() const {
    if (p.G != 1 || (p.M != 1 && p.N != 1)) return "not a product with one vector";
    if (std::string reason = common_refusal(p); !reason.empty()) return reason;
    if (p.a.dtype != p.b.dtype || (p.c_dtype != p.a.dtype && p.c_dtype != DType::kF32)) {
      return "MPS does not multiply these dtypes";
    }
    const std::int64_t input_step = is_row ? p.a.column_stride : p.b.row_stride;
    const std::int64_t result_step = is_row ? 1 : p.c_row_stride;
    if ((input_step != 1 && p.K > 1) || (result_step != 1 && rows() > 1) || !operand()) {
      return kStrides;
    }
    return is_short({rows(), p.K}) ? "" : "sizes for which MPS is known to be wrong";
  }

  KernelCache::Key key(const MpsOperand& as) const {
    return {rows(),          p.K,           as.transposed ? 1 : 0, as.step, key_of_dtypes(p),
            key_of(p.alpha), key_of(p.beta)};
  }

  VectorEntry make(const apple::metal::Device& device, const MpsOperand& as) const {
    return {
        .kernel = mps_api::MatrixVectorMultiplication(
            device, size(rows()), size(p.K),
            {.transpose = as.transposed, .alpha = double{p.alpha}, .beta = double{p.beta}}),
        .matrix = describe_matrix(matrix().dtype, as.transposed ? p.K : rows(),
                                  as.transposed ? rows() : p.K, as.step),
        .input = mps_api::VectorDescriptor({.length = size(p.K), .type = mps_type(input().dtype)}),
        .result = mps_api::VectorDescriptor({.length = size(rows()), .type = mps_type(p.c_dtype)})};
  }
};

// ---- MPSNDArrayMatrixMultiplication

struct ArrayEntry {
  mps_api::NDArrayMatrixMultiplication kernel;
  mps_api::NDArrayDescriptor left, right, result;
};

// The matrices of a batch without a gap, or one for all of them.
std::optional<MpsOperand> dense_operand_of(const Matrix& m, std::int64_t rows,
                                           std::int64_t columns) {
  const auto operand = operand_of(m, rows, columns);
  const bool is_dense = operand && operand->step == (operand->transposed ? rows : columns);
  const bool is_whole = m.batch_stride == 0 || m.batch_stride == rows * columns;
  return is_dense && is_whole ? operand : std::nullopt;
}

mps_api::NDArrayDescriptor describe_array(DType dtype, std::int64_t G, std::int64_t rows,
                                          std::int64_t columns) {
  constexpr std::uint64_t kRowUnit = 16;
  mps_api::NDArrayLayout layout{.shape = {size(rows), size(columns)}, .type = mps_type(dtype)};
  layout.packed_rows = size(columns) * size_of(dtype) % kRowUnit != 0;
  if (G > 1) layout.shape.insert(layout.shape.begin(), size(G));
  return mps_api::NDArrayDescriptor(layout);
}

struct ArrayProduct {
  const Product& p;
  MpsOperand a, b;

  KernelCache::Key key() const {
    return {p.G,
            p.M,
            p.N,
            p.K,
            a.transposed ? 1 : 0,
            b.transposed ? 1 : 0,
            p.a.batch_stride == 0 ? 1 : 0,
            p.b.batch_stride == 0 ? 1 : 0,
            key_of_dtypes(p),
            key_of(p.alpha)};
  }

  ArrayEntry make(const apple::metal::Device& device) const {
    const auto lying = [&](const Matrix& m, const MpsOperand& as, std::int64_t rows,
                           std::int64_t columns) {
      return describe_array(m.dtype, m.batch_stride == 0 ? 1 : p.G, as.transposed ? columns : rows,
                            as.transposed ? rows : columns);
    };
    return {.kernel = mps_api::NDArrayMatrixMultiplication(device, double{p.alpha}),
            .left = lying(p.a, a, p.M, p.K),
            .right = lying(p.b, b, p.K, p.N),
            .result = describe_array(p.c_dtype, p.G, p.M, p.N)};
  }

  void encode(Stream& stream, const ArrayEntry& entry) const {
    MpsStream& own = mps_stream(stream);
    const auto array = [&](const void* data, const mps_api::NDArrayDescriptor& descriptor) {
      return operand_at<mps_api::NDArray>(own.backend(), data, descriptor);
    };
    const auto left = array(p.a.data, entry.left);
    const auto right = array(p.b.data, entry.right);
    const auto result = array(p.c, entry.result);
    MpsStream::Encoding encoding(own, work_of(p));
    const auto seen = [&](const mps_api::NDArray& x, const MpsOperand& as) {
      const std::size_t rank = x.shape().size();
      return as.transposed ? x.transposed(encoding.commands(), rank - 2, rank - 1) : x;
    };
    entry.kernel.encode(encoding.commands(), seen(left, a), seen(right, b), result);
  }
};

std::string array_refusal(const Product& p) {
  if (p.G == 1) return "not a batch of products";
  if (p.a.batch_stride == 0 && p.b.batch_stride == 0) return "one product, again and again";
  if (std::string reason = common_refusal(p); !reason.empty()) return reason;
  if (p.a.dtype != p.b.dtype || p.a.dtype != p.c_dtype) return "arrays of several dtypes";
  if (p.beta != 0) return "arrays are not added to";
  if ((p.c_row_stride != p.N && p.M > 1) || p.c_batch_stride != p.M * p.N) return kStrides;
  const std::int64_t most = std::numeric_limits<std::int32_t>::max() / p.G;
  const bool fits =
      is_short({p.G, p.M, p.N, p.K}) && p.M * p.K <= most && p.K * p.N <= most && p.M * p.N <= most;
  return fits ? "" : "sizes for which MPS is known to be wrong";
}

}  // namespace

KernelStatus multiply_by_mps(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  if (std::string reason = common_refusal(p); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  const auto a = operand_of(p.a, p.M, p.K);
  const auto b = operand_of(p.b, p.K, p.N);
  if (!a || !b) return KernelStatus::unsupported(kStrides);
  const MpsProduct product{p, *a, *b};
  if (std::string reason = product.refusal(); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  MpsStream& own = mps_stream(stream);
  MpsBackend& backend = own.backend();
  with_mps_kernel<MatrixEntry>(
      backend, product.key(), [&](const auto& device) { return product.make(device); },
      [&](const MatrixEntry& entry) {
        const auto left = operand_at<mps_api::Matrix>(backend, p.a.data, entry.left);
        const auto right = operand_at<mps_api::Matrix>(backend, p.b.data, entry.right);
        const auto result = operand_at<mps_api::Matrix>(backend, p.c, entry.result);
        MpsStream::Encoding encoding(own, work_of(p));
        entry.kernel.encode(encoding.commands(), left, right, result);
      });
  return KernelStatus::ok();
}

KernelStatus multiply_vector_by_mps(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  const VectorProduct product{p, p.M == 1};
  if (std::string reason = product.refusal(); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  const MpsOperand as = *product.operand();
  MpsStream& own = mps_stream(stream);
  MpsBackend& backend = own.backend();
  with_mps_kernel<VectorEntry>(
      backend, product.key(as), [&](const auto& device) { return product.make(device, as); },
      [&](const VectorEntry& entry) {
        const auto matrix =
            operand_at<mps_api::Matrix>(backend, product.matrix().data, entry.matrix);
        const auto input = operand_at<mps_api::Vector>(backend, product.input().data, entry.input);
        const auto result = operand_at<mps_api::Vector>(backend, p.c, entry.result);
        MpsStream::Encoding encoding(own, work_of(p));
        entry.kernel.encode(encoding.commands(), matrix, input, result);
      });
  return KernelStatus::ok();
}

KernelStatus multiply_arrays_by_mps(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  if (std::string reason = array_refusal(p); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  const auto a = dense_operand_of(p.a, p.M, p.K);
  const auto b = dense_operand_of(p.b, p.K, p.N);
  if (!a || !b) return KernelStatus::unsupported(kStrides);
  const ArrayProduct product{p, *a, *b};
  try {
    with_mps_kernel<ArrayEntry>(
        mps_stream(stream).backend(), product.key(),
        [&](const auto& device) { return product.make(device); },
        [&](const ArrayEntry& entry) { product.encode(stream, entry); });
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    return KernelStatus::unsupported(error.what());  // a system before macOS 15
  }
  return KernelStatus::ok();
}

}  // namespace wick::mps

#include "backends/mps/products.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/products_kargs.hpp"
#include "backends/mps/mps_backend.hpp"
#include "backends/mps/ways.hpp"
#include "base/check.hpp"

namespace wick::mps {

static_assert(sizeof(ProductKargs) == 48 + 32 + 32);

namespace {

constexpr std::int64_t kFewRows = 8;  // as in products.metal
constexpr std::uint32_t kColumnsPerGroup = 4;

double work_of(const Product& p) {
  return 2.0 * static_cast<double>(p.G * p.M * p.N) * static_cast<double>(p.K + p.R);
}

bool is_empty(const Product& p) { return p.G == 0 || p.M == 0 || p.N == 0; }

bool is_by_columns(const Matrix& m) { return m.row_stride == 1 && m.column_stride != 1; }

bool is_narrow(const Product& p) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return p.M <= kMost && p.N <= kMost && p.K <= kMost && p.R <= kMost && p.G <= kMost;
}

ProductKargs kargs_of(const Product& p) {
  const auto steps = [](const Matrix& m) {
    return MatrixSteps{m.row_stride, m.column_stride, m.batch_stride};
  };
  return {.a = steps(p.a),
          .b = steps(p.b),
          .c_row = p.c_row_stride,
          .c_batch = p.c_batch_stride,
          .s_row = p.s.row_stride,
          .s_column = p.s.column_stride,
          .M = static_cast<std::int32_t>(p.M),
          .N = static_cast<std::int32_t>(p.N),
          .K = static_cast<std::int32_t>(p.K),
          .R = static_cast<std::int32_t>(p.R),
          .alpha = p.alpha,
          .beta = p.beta,
          .scale = p.scale,
          .has_bias = p.bias != nullptr ? 1 : 0};
}

std::uint32_t constant_of(DType dtype) { return static_cast<std::uint32_t>(dtype); }

KernelId kernel_of(std::string_view function, const Product& p, bool packed) {
  const auto by_columns = [](const Matrix& m) { return is_by_columns(m) ? 1U : 0U; };
  return {"products",
          function,
          {constant_of(p.a.dtype), constant_of(p.b.dtype), constant_of(p.c_dtype),
           constant_of(p.bias_dtype), constant_of(p.s.dtype), by_columns(p.a), by_columns(p.b),
           packed ? 1U : 0U}};
}

void dispatch(Stream& stream, const KernelId& kernel, const Product& p, apple::metal::Size groups) {
  constexpr std::uint32_t kThreads = 128;
  Dispatch(stream, kernel, work_of(p))
      .memory(p.K > 0 ? p.a.data : nullptr)
      .memory(p.K > 0 ? p.b.data : nullptr)
      .memory(p.c)
      .memory(p.bias)
      .memory(p.R > 0 ? p.p : nullptr)
      .memory(p.R > 0 ? p.s.data : nullptr)
      .value(kargs_of(p))
      .groups(groups, {kThreads});
}

// Whether the kernel may read four elements at a time.
bool is_packed(const Matrix& m, std::int64_t step, std::int64_t count, std::int64_t K) {
  constexpr std::int64_t kPack = 4;
  return K % kPack == 0 && (step % kPack == 0 || count == 1) &&
         is_aligned(m.data, kPack * size_of(m.dtype));
}

}  // namespace

// ---- our kernels

KernelStatus multiply_few_rows(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  if (p.G != 1 || p.M > kFewRows || !is_narrow(p)) {
    return KernelStatus::unsupported("not a product of at most 8 rows");
  }
  const bool by_rows = p.a.column_stride == 1 || p.K == 1;
  const bool by_columns = p.b.row_stride == 1 || p.K == 1;
  if (!by_rows || !by_columns) return KernelStatus::unsupported("not a product x wᵀ");
  const bool packed =
      is_packed(p.a, p.a.row_stride, p.M, p.K) && is_packed(p.b, p.b.column_stride, p.N, p.K);
  dispatch(stream, kernel_of("product_few_rows", p, packed), p,
           {static_cast<std::uint64_t>(ceil_div(p.N, kColumnsPerGroup))});
  return KernelStatus::ok();
}

KernelStatus multiply_by_tiles(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  if (!is_narrow(p)) return KernelStatus::unsupported("a matrix of 2^31 rows or columns");
  detail::check(p.R == 0 || (p.G == 1 && p.alpha == 1), "an update comes with one plain product");
  constexpr std::int64_t kWide = 64;
  const bool wide = p.M >= kWide && p.N >= kWide;
  const std::int64_t tile = wide ? kWide : kWide / 2;
  dispatch(stream, kernel_of(wide ? "product_tiles_64" : "product_tiles_32", p, false), p,
           {static_cast<std::uint64_t>(ceil_div(p.N, tile)),
            static_cast<std::uint64_t>(ceil_div(p.M, tile)), static_cast<std::uint64_t>(p.G)});
  return KernelStatus::ok();
}

// ---- Metal Performance Shaders

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

mps_api::DataType mps_type(DType dtype) {
  return dtype == DType::kF16 ? mps_api::DataType::kFloat16 : mps_api::DataType::kFloat32;
}

bool types_fit(const Product& p) {
  const auto known = [](DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16; };
  if (!known(p.a.dtype) || !known(p.b.dtype) || !known(p.c_dtype)) return false;
  if (p.a.dtype == DType::kF32) return p.c_dtype == DType::kF32;
  return p.b.dtype == DType::kF16;
}

// Matrices of a batch lie whole rows apart.
bool batch_fits(std::int64_t G, std::int64_t batch_stride, std::int64_t rows, std::int64_t step) {
  return G == 1 || (batch_stride % step == 0 && batch_stride >= rows * step);
}

mps_api::MatrixDescriptor descriptor_of(DType dtype, std::int64_t G, std::int64_t rows,
                                        std::int64_t columns, std::int64_t step,
                                        std::int64_t batch_stride) {
  const auto bytes = [&](std::int64_t elements) {
    return static_cast<std::uint64_t>(elements) * size_of(dtype);
  };
  return mps_api::MatrixDescriptor({.rows = static_cast<std::uint64_t>(rows),
                                    .columns = static_cast<std::uint64_t>(columns),
                                    .type = mps_type(dtype),
                                    .row_bytes = bytes(step),
                                    .matrices = static_cast<std::uint64_t>(G),
                                    .matrix_bytes = G == 1 ? 0 : bytes(batch_stride)});
}

// A product with its operands as MPS sees them.
struct MpsProduct {
  const Product& p;
  MpsOperand a, b;

  ProductCache::Key key() const {
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
            static_cast<std::int64_t>(p.a.dtype) * 64 + static_cast<std::int64_t>(p.b.dtype) * 8 +
                static_cast<std::int64_t>(p.c_dtype),
            std::bit_cast<std::int32_t>(p.alpha),
            std::bit_cast<std::int32_t>(p.beta),
            0};
  }

  ProductCache::Entry make(const apple::metal::Device& device) const {
    const auto lying = [&](const Matrix& m, const MpsOperand& as, std::int64_t rows,
                           std::int64_t columns) {
      return descriptor_of(m.dtype, p.G, as.transposed ? columns : rows,
                           as.transposed ? rows : columns, as.step, m.batch_stride);
    };
    const std::int64_t c_step = p.M == 1 ? p.N : p.c_row_stride;
    return {.kernel = mps_api::MatrixMultiplication(device, static_cast<std::uint64_t>(p.M),
                                                    static_cast<std::uint64_t>(p.N),
                                                    static_cast<std::uint64_t>(p.K),
                                                    {.transpose_left = a.transposed,
                                                     .transpose_right = b.transposed,
                                                     .alpha = double{p.alpha},
                                                     .beta = double{p.beta}}),
            .left = lying(p.a, a, p.M, p.K),
            .right = lying(p.b, b, p.K, p.N),
            .result = descriptor_of(p.c_dtype, p.G, p.M, p.N, c_step, p.c_batch_stride)};
  }
};

std::string refusal(const Product& p, const std::optional<MpsOperand>& a,
                    const std::optional<MpsOperand>& b) {
  if (p.R > 0 || p.bias != nullptr) return "MPS adds neither bias nor update";
  if (p.K == 0) return "an empty sum";
  if (!types_fit(p)) return "MPS multiplies f32 and f16 only";
  if (!a || !b) return "strides that MPS does not know";
  const std::int64_t c_step = p.M == 1 ? p.N : p.c_row_stride;
  if (c_step < p.N || !batch_fits(p.G, p.c_batch_stride, p.M, c_step) ||
      !batch_fits(p.G, p.a.batch_stride, a->transposed ? p.K : p.M, a->step) ||
      !batch_fits(p.G, p.b.batch_stride, b->transposed ? p.N : p.K, b->step)) {
    return "strides that MPS does not know";
  }
  const float most = p.c_dtype == DType::kF16 ? 65504.0F : std::numeric_limits<float>::max();
  if (!(std::abs(p.alpha) <= most && std::abs(p.beta) <= most)) {
    return "a factor that the result's dtype does not hold";
  }
  return {};
}

}  // namespace

KernelStatus multiply_by_mps(Stream& stream, const Product& p) {
  if (is_empty(p)) return KernelStatus::ok();
  const auto a = operand_of(p.a, p.M, p.K);
  const auto b = operand_of(p.b, p.K, p.N);
  if (std::string reason = refusal(p, a, b); !reason.empty()) {
    return KernelStatus::unsupported(std::move(reason));
  }
  MpsStream& own = mps_stream(stream);
  MpsBackend& backend = own.backend();
  const MpsProduct product{p, *a, *b};
  const auto matrix = [&](const void* data, const mps_api::MatrixDescriptor& descriptor) {
    const BufferPlace place = backend.memory().find(data);
    return mps_api::Matrix(place.buffer, descriptor, place.offset);
  };
  const apple::AutoreleaseScope scope;
  backend.products().with(
      product.key(), [&] { return product.make(backend.metal()); },
      [&](const ProductCache::Entry& entry) {
        const auto left = matrix(p.a.data, entry.left);
        const auto right = matrix(p.b.data, entry.right);
        const auto result = matrix(p.c, entry.result);
        MpsStream::Encoding encoding(own, work_of(p));
        entry.kernel.encode(encoding.commands(), left, right, result);
      });
  return KernelStatus::ok();
}

// ---- choice

// Below this MPS gains nothing over tiles but the end of an encoder: half a microsecond of an M1.
bool is_worth_mps(const CallShape& s) {
  constexpr double kLeastWork = 2.0 * 64 * 64 * 64;
  return s.M > kFewRows &&
         2.0 * static_cast<double>(s.G * s.M * s.N) * static_cast<double>(s.K) >= kLeastWork;
}

CallShape shape_of(const Product& p) {
  return {.kernel = ChoiceKernel::kMatmul,
          .G = p.G,
          .M = p.M,
          .N = p.N,
          .K = p.K,
          .R = p.R,
          .a = p.a.dtype,
          .b = p.b.dtype,
          .c = p.c_dtype,
          .a_by_columns = is_by_columns(p.a),
          .b_by_columns = is_by_columns(p.b),
          .has_bias = p.bias != nullptr};
}

KernelStatus multiply(Stream& stream, const Product& p, std::string_view only) {
  static constexpr Variant<Product> kAll[] = {
      {"few_rows", multiply_few_rows}, {"mps", multiply_by_mps}, {"tiles", multiply_by_tiles}};
  static constexpr Variant<Product> kSmall[] = {kAll[0], kAll[2]};
  if (p.K == 0 || is_empty(p)) return multiply_by_tiles(stream, p);
  const CallShape shape = shape_of(p);
  return run_ways<Product>(stream, shape, {kAll, kSmall}, p, !is_worth_mps(shape), only);
}

}  // namespace wick::mps

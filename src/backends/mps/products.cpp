#include "backends/mps/products.hpp"

#include <limits>

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

double work_of(const Product& p) {
  return 2.0 * static_cast<double>(p.G * p.M * p.N) * static_cast<double>(p.K + p.R);
}

bool is_empty(const Product& p) { return p.G == 0 || p.M == 0 || p.N == 0; }

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

// ---- choice

// Below this MPS gains nothing over tiles but the end of an encoder: half a microsecond of an M1. A product with a vector
// that few_rows does not take leaves most of a tile unused.
bool is_usual(std::string_view way, const CallShape& s) {
  constexpr double kLeastWork = 2.0 * 64 * 64 * 64;
  const bool is_large =
      2.0 * static_cast<double>(s.G * s.M * s.N) * static_cast<double>(s.K) >= kLeastWork;
  if (way == "mps") return is_large && s.M > kFewRows;
  return is_large || way != "mps_vector";
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
          .has_bias = p.bias != nullptr,
          .a_shared = p.G > 1 && p.a.batch_stride == 0,
          .b_shared = p.G > 1 && p.b.batch_stride == 0};
}

KernelStatus multiply(Stream& stream, const Product& p, std::string_view only) {
  static constexpr Variant<Product> kWays[] = {{"few_rows", multiply_few_rows},
                                               {"mps_vector", multiply_vector_by_mps},
                                               {"mps", multiply_by_mps},
                                               {"tiles", multiply_by_tiles},
                                               {"mps_array", multiply_arrays_by_mps}};
  if (p.K == 0 || is_empty(p)) return multiply_by_tiles(stream, p);
  return run_ways<Product>(stream, shape_of(p), kWays, p, only);
}

}  // namespace wick::mps

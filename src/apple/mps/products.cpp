#include "wick/apple/mps/products.hpp"

#include <algorithm>

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::EncodeChecks;
using detail::kernel_as;
using detail::make_kernel;
using detail::part;
using detail::Part;
using detail::refuse;
using detail::to_mtl;

namespace {

constexpr std::string_view kProduct = "mps.matrix_multiplication";
constexpr std::string_view kVectorProduct = "mps.matrix_vector_multiplication";
// The operands of a product have at most 4 bytes an element, which the limits count with.
constexpr std::size_t kWidestElement = 4;

void check_sizes(std::string_view op, std::uint64_t rows, std::uint64_t columns,
                 std::uint64_t inner) {
  if (rows != 0 && columns != 0 && inner != 0) return;
  refuse(op, "rows, columns and inner length must be at least 1; got " + std::to_string(rows) +
                 ", " + std::to_string(columns) + " and " + std::to_string(inner));
}

/// What MPS multiplies, as far as it is known to.
void check_types(const EncodeChecks& checks, const Part& left, const Part& right,
                 const Part& result) {
  using enum DataType;
  constexpr DataType kKnown[][3] = {
      {kFloat32, kFloat32, kFloat32}, {kFloat32, kFloat16, kFloat32},
      {kFloat16, kFloat16, kFloat16}, {kFloat16, kFloat16, kFloat32},
      {kInt8, kInt8, kFloat16},       {kInt8, kInt8, kFloat32},
      {kInt16, kInt16, kFloat32},
  };
  const DataType a = left.layout.type, b = right.layout.type, c = result.layout.type;
  for (const auto& known : kKnown) {
    if (known[0] == a && known[1] == b && known[2] == c) return;
  }
  refuse(checks.op(), "MPS does not multiply " + std::string(to_string(a)) + " by " +
                          std::string(to_string(b)) + " into " + std::string(to_string(c)));
}

Origin moved(Origin origin, std::uint64_t rows, std::uint64_t columns) {
  return {origin.row + rows, origin.column + columns};
}

}  // namespace

std::vector<ProductTile> cut_product(std::uint64_t rows, std::uint64_t columns, std::uint64_t inner,
                                     std::size_t element_bytes, const ProductLimits& limits) {
  check_sizes("mps.cut_product", rows, columns, inner);
  if (limits.dimension == 0 || element_bytes == 0) {
    refuse("mps.cut_product", "limits and element must be at least 1");
  }
  const std::uint64_t m = std::min(rows, limits.dimension);
  const std::uint64_t k = std::min(inner, limits.dimension);
  // At least one column, however small the limit.
  const std::uint64_t band = limits.band_bytes / ((m + 2 * k) * element_bytes);
  const std::uint64_t n = std::max<std::uint64_t>(1, std::min({columns, limits.dimension, band}));
  std::vector<ProductTile> tiles;
  for (std::uint64_t i = 0; i < rows; i += m) {
    for (std::uint64_t j = 0; j < columns; j += n) {
      for (std::uint64_t l = 0; l < inner; l += k) {
        tiles.push_back(
            {i, j, l, std::min(m, rows - i), std::min(n, columns - j), std::min(k, inner - l)});
      }
    }
  }
  return tiles;
}

// ---- MatrixMultiplication

MatrixMultiplication::MatrixMultiplication(const metal::Device& device, std::uint64_t rows,
                                           std::uint64_t columns, std::uint64_t inner,
                                           const MultiplicationOptions& options)
    : rows_(rows), columns_(columns), inner_(inner), options_(options) {
  check_sizes(kProduct, rows, columns, inner);
  detail::check_finite(std::string(kProduct), "alpha", options.alpha);
  detail::check_finite(std::string(kProduct), "beta", options.beta);
  for (const ProductTile& tile :
       cut_product(rows, columns, inner, kWidestElement, options.limits)) {
    parts_.push_back({tile, kernel_for(device, tile)});
  }
}

std::size_t MatrixMultiplication::kernel_for(const metal::Device& device, const ProductTile& tile) {
  const bool continues = tile.inner != 0;
  const auto fits = [&](const Kernel& k) {
    return k.rows == tile.rows && k.columns == tile.columns && k.inner == tile.inner_length &&
           k.continues == continues;
  };
  const auto found = std::find_if(kernels_.begin(), kernels_.end(), fits);
  if (found != kernels_.end()) return static_cast<std::size_t>(found - kernels_.begin());
  kernels_.push_back(
      {tile.rows, tile.columns, tile.inner_length, continues,
       make_kernel<objc::MPSMatrixMultiplication>(
           messages::init_multiplication, device.object().get(), options_.transpose_left,
           options_.transpose_right, tile.rows, tile.columns, tile.inner_length, options_.alpha,
           continues ? 1.0 : options_.beta)});
  return kernels_.size() - 1;
}

void MatrixMultiplication::encode(metal::CommandBuffer& buffer, const Matrix& left,
                                  const Matrix& right, const Matrix& result,
                                  const MultiplicationPlace& place) const {
  const EncodeChecks checks(kProduct, buffer, place.batch, result.layout().matrices);
  const bool tl = options_.transpose_left, tr = options_.transpose_right;
  const detail::Part a =
      part("the left matrix", left, place.left, tl ? inner_ : rows_, tl ? rows_ : inner_);
  const detail::Part b =
      part("the right matrix", right, place.right, tr ? columns_ : inner_, tr ? inner_ : columns_);
  const detail::Part c = part("the result", result, place.result, rows_, columns_);
  check_types(checks, a, b, c);
  for (const detail::Part* one : {&a, &b, &c}) checks.inside(*one);
  checks.apart(c, a);
  checks.apart(c, b);
  detail::check_factor(checks.op(), "alpha", options_.alpha, c.layout.type);
  detail::check_factor(checks.op(), "beta", options_.beta, c.layout.type);
  if (parts_.size() > 1 && (a.temporary || b.temporary)) {
    refuse(kProduct, "a product that is cut into " + std::to_string(parts_.size()) +
                         " parts reads its operands as often: they must not be temporary");
  }
  const AutoreleaseScope scope;
  MultiplicationPlace resolved = place;
  resolved.batch = checks.batch();
  for (const auto& one : parts_) {
    encode_part(buffer.object().get(), one, left, right, result, resolved);
  }
}

void MatrixMultiplication::encode_part(objc::MTLCommandBuffer* buffer, const Part& one,
                                       const Matrix& left, const Matrix& right,
                                       const Matrix& result,
                                       const MultiplicationPlace& place) const {
  const ProductTile& t = one.tile;
  auto* const kernel = kernel_as<objc::MPSMatrixMultiplication>(kernels_[one.kernel].object);
  const Origin in_left = options_.transpose_left ? moved(place.left, t.inner, t.row)
                                                 : moved(place.left, t.row, t.inner);
  const Origin in_right = options_.transpose_right ? moved(place.right, t.column, t.inner)
                                                   : moved(place.right, t.inner, t.column);
  messages::set_left_origin(kernel, to_mtl(in_left));
  messages::set_right_origin(kernel, to_mtl(in_right));
  messages::set_product_origin(kernel, to_mtl(moved(place.result, t.row, t.column)));
  messages::set_product_batch_start(kernel, place.batch.start);
  messages::set_product_batch_size(kernel, place.batch.size);
  messages::encode_multiplication(kernel, buffer, left.object().get(), right.object().get(),
                                  result.object().get());
}

// ---- MatrixVectorMultiplication

MatrixVectorMultiplication::MatrixVectorMultiplication(const metal::Device& device,
                                                       std::uint64_t rows, std::uint64_t columns,
                                                       const VectorMultiplicationOptions& options)
    : rows_(rows), columns_(columns), options_(options) {
  check_sizes(kVectorProduct, rows, columns, 1);
  detail::check_finite(std::string(kVectorProduct), "alpha", options.alpha);
  detail::check_finite(std::string(kVectorProduct), "beta", options.beta);
  kernel_ = make_kernel<objc::MPSMatrixVectorMultiplication>(
      messages::init_vector_multiplication, device.object().get(), options.transpose, rows, columns,
      options.alpha, options.beta);
}

void MatrixVectorMultiplication::encode(metal::CommandBuffer& buffer, const Matrix& matrix,
                                        const Vector& input, const Vector& result,
                                        const VectorMultiplicationPlace& place) const {
  const EncodeChecks checks(kVectorProduct, buffer, place.batch, result.layout().vectors);
  const bool t = options_.transpose;
  const Part a =
      part("the matrix", matrix, place.matrix, t ? columns_ : rows_, t ? rows_ : columns_);
  const Part x = part("the input", input, place.input, columns_);
  const Part y = part("the result", result, place.result, rows_);
  checks.type(a, {DataType::kFloat32, DataType::kFloat16});
  checks.same_type(a, x);
  if (y.layout.type != DataType::kFloat32) checks.same_type(y, a);
  for (const Part* one : {&a, &x, &y}) checks.inside(*one);
  checks.apart(y, a);
  checks.apart(y, x);
  detail::check_factor(checks.op(), "alpha", options_.alpha, y.layout.type);
  detail::check_factor(checks.op(), "beta", options_.beta, y.layout.type);
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixVectorMultiplication>(kernel_);
  messages::set_primary_origin(kernel, to_mtl(place.matrix));
  messages::set_secondary_origin(kernel, {place.input, 0, 0});
  messages::set_binary_result_origin(kernel, {place.result, 0, 0});
  messages::set_binary_batch_start(kernel, checks.batch().start);
  messages::set_binary_batch_size(kernel, checks.batch().size);
  messages::encode_vector_multiplication(kernel, buffer.object().get(), matrix.object().get(),
                                         input.object().get(), result.object().get());
}

}  // namespace wick::apple::mps

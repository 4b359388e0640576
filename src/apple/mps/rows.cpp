#include "wick/apple/mps/rows.hpp"

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::EncodeChecks;
using detail::extent;
using detail::kernel_as;
using detail::make_kernel;
using detail::part;
using detail::Part;
using detail::refuse;
using detail::to_mtl;

namespace {

constexpr std::initializer_list<DataType> kFloating = {DataType::kFloat32, DataType::kFloat16};

void place_unary(objc::MPSMatrixUnaryKernel* kernel, const RowsPlace& place, Batch batch) {
  messages::set_source_origin(kernel, to_mtl(place.source));
  messages::set_unary_result_origin(kernel, to_mtl(place.result));
  messages::set_unary_batch_start(kernel, batch.start);
  messages::set_unary_batch_size(kernel, batch.size);
}

}  // namespace

MatrixSoftMax::MatrixSoftMax(const metal::Device& device, Kind kind)
    : kernel_(kind == Kind::kSoftMax ? make_kernel<objc::MPSMatrixSoftMax>(messages::init_softmax,
                                                                           device.object().get())
                                     : make_kernel<objc::MPSMatrixLogSoftMax>(
                                           messages::init_softmax, device.object().get())) {}

void MatrixSoftMax::encode(metal::CommandBuffer& buffer, const Matrix& input, const Matrix& result,
                           const RowsPlace& place) const {
  const EncodeChecks checks("mps.matrix_softmax", buffer, place.batch, result.layout().matrices);
  const std::uint64_t rows = extent(place.rows, input.layout().rows, place.source.row);
  const std::uint64_t columns = extent(place.columns, input.layout().columns, place.source.column);
  const Part from = part("the input", input, place.source, rows, columns);
  const Part to = part("the result", result, place.result, rows, columns);
  checks.type(from, kFloating);
  checks.same_type(from, to);
  checks.inside(from);
  checks.inside(to);
  checks.apart_or_same(to, from);
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixSoftMax>(kernel_);
  place_unary(kernel, place, checks.batch());
  messages::set_softmax_rows(kernel, rows);
  messages::set_softmax_columns(kernel, columns);
  messages::encode_softmax(kernel, buffer.object().get(), input.object().get(),
                           result.object().get());
}

MatrixSoftMaxGradient::MatrixSoftMaxGradient(const metal::Device& device, MatrixSoftMax::Kind kind)
    : kernel_(kind == MatrixSoftMax::Kind::kSoftMax
                  ? make_kernel<objc::MPSMatrixSoftMaxGradient>(messages::init_softmax_gradient,
                                                                device.object().get())
                  : make_kernel<objc::MPSMatrixLogSoftMaxGradient>(messages::init_softmax_gradient,
                                                                   device.object().get())) {}

void MatrixSoftMaxGradient::encode(metal::CommandBuffer& buffer, const Matrix& gradient,
                                   const Matrix& output, const Matrix& result,
                                   const RowsGradientPlace& place) const {
  const EncodeChecks checks("mps.matrix_softmax_gradient", buffer, place.batch,
                            result.layout().matrices);
  const std::uint64_t rows = extent(place.rows, gradient.layout().rows, place.gradient.row);
  const std::uint64_t columns =
      extent(place.columns, gradient.layout().columns, place.gradient.column);
  const Part dy = part("the gradient", gradient, place.gradient, rows, columns);
  const Part y = part("the output", output, place.output, rows, columns);
  const Part dx = part("the result", result, place.result, rows, columns);
  checks.type(dy, kFloating);
  checks.same_type(dy, y);
  checks.same_type(dy, dx);
  for (const Part* one : {&dy, &y, &dx}) checks.inside(*one);
  checks.apart(dx, dy);
  checks.apart(dx, y);
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixSoftMaxGradient>(kernel_);
  messages::set_primary_origin(kernel, to_mtl(place.gradient));
  messages::set_secondary_origin(kernel, to_mtl(place.output));
  messages::set_binary_result_origin(kernel, to_mtl(place.result));
  messages::set_binary_batch_start(kernel, checks.batch().start);
  messages::set_binary_batch_size(kernel, checks.batch().size);
  messages::set_gradient_rows(kernel, rows);
  messages::set_gradient_columns(kernel, columns);
  messages::encode_softmax_gradient(kernel, buffer.object().get(), gradient.object().get(),
                                    output.object().get(), result.object().get());
}

MatrixFindTopK::MatrixFindTopK(const metal::Device& device, std::uint64_t count) : count_(count) {
  constexpr std::uint64_t kMost = 16;
  if (count == 0 || count > kMost) {
    refuse("mps.matrix_find_top_k", "the count must be 1 to 16; got " + std::to_string(count));
  }
  kernel_ =
      make_kernel<objc::MPSMatrixFindTopK>(messages::init_top_k, device.object().get(), count);
}

void MatrixFindTopK::encode(metal::CommandBuffer& buffer, const Matrix& input,
                            const Matrix& indices, const Matrix& values, const RowsPlace& place,
                            std::uint64_t index_offset) const {
  const EncodeChecks checks("mps.matrix_find_top_k", buffer, place.batch, values.layout().matrices);
  const std::uint64_t rows = extent(place.rows, input.layout().rows, place.source.row);
  const std::uint64_t columns = extent(place.columns, input.layout().columns, place.source.column);
  const Part from = part("the input", input, place.source, rows, columns);
  const Part at = part("the indices", indices, place.result, rows, count_);
  const Part best = part("the values", values, place.result, rows, count_);
  checks.type(from, kFloating);
  checks.type(at, {DataType::kUInt32});
  checks.same_type(from, best);
  for (const Part* one : {&from, &at, &best}) checks.inside(*one);
  if (columns < count_) {
    refuse(checks.op(), "the largest " + std::to_string(count_) + " of " + std::to_string(columns) +
                            " columns are asked for");
  }
  checks.apart(at, from);
  checks.apart(best, from);
  checks.apart(best, at);
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixFindTopK>(kernel_);
  place_unary(kernel, place, checks.batch());
  messages::set_top_k_rows(kernel, rows);
  messages::set_top_k_columns(kernel, columns);
  messages::set_top_k_offset(kernel, index_offset);
  messages::encode_top_k(kernel, buffer.object().get(), input.object().get(),
                         indices.object().get(), values.object().get());
}

}  // namespace wick::apple::mps

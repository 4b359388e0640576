#include "wick/apple/mps/layers.hpp"

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"
#include "apple/objc/foundation.hpp"

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

std::int32_t checked_type(std::string_view op, const Neuron& neuron) {
  const auto type = static_cast<std::int32_t>(neuron.type);
  constexpr std::int32_t kPReLU = 10, kMost = 15;
  if (type < 0 || type > kMost || type == kPReLU) {
    refuse(op, std::to_string(type) + " is no NeuronType");
  }
  return type;
}

objc::MPSVector* object_of(const Vector* vector) {
  return vector == nullptr ? nullptr : vector->object().get();
}

/// A bias has one value for each column and overlaps no result.
void check_bias(const EncodeChecks& checks, const Vector* bias, const Part& result) {
  if (bias == nullptr) return;
  Part b = part("the bias", *bias, 0, bias->layout().length);
  checks.same_type(b, result);
  if (bias->layout().length != result.columns || bias->layout().vectors != 1) {
    refuse(checks.op(), "the bias must be one vector of " + std::to_string(result.columns) +
                            "; it has " + std::to_string(bias->layout().vectors) + " of " +
                            std::to_string(bias->layout().length));
  }
  b.layout.matrix_bytes = 0;  // the one vector is that of every matrix
  checks.apart(result, b);
}

template <class T>
Vector upload(const metal::Device& device, std::span<const T> values, DataType type) {
  return {device.buffer(std::as_bytes(values)),
          VectorDescriptor({.length = values.size(), .type = type})};
}

}  // namespace

// ---- MatrixNeuron

MatrixNeuron::MatrixNeuron(const metal::Device& device, const Neuron& neuron, double alpha) {
  const std::string op = "mps.matrix_neuron";
  const std::int32_t type = checked_type(op, neuron);
  detail::check_finite(op, "alpha", alpha);
  kernel_ = make_kernel<objc::MPSMatrixNeuron>(messages::init_neuron, device.object().get());
  auto* const kernel = kernel_as<objc::MPSMatrixNeuron>(kernel_);
  messages::set_neuron(kernel, type, neuron.a, neuron.b, neuron.c);
  messages::set_neuron_alpha(kernel, alpha);
}

MatrixNeuron::MatrixNeuron(const metal::Device& device, std::span<const float> slopes, double alpha)
    : MatrixNeuron(device, Neuron{}, alpha) {
  if (slopes.empty())
    refuse("mps.matrix_neuron", "there must be a slope for each column; got none");
  const AutoreleaseScope scope;
  const auto data =
      objc::make<objc::NSData>(messages::init_data, slopes.data(), slopes.size_bytes());
  messages::set_slopes(kernel_as<objc::MPSMatrixNeuron>(kernel_), data.get());
  slopes_ = slopes.size();
}

void MatrixNeuron::encode(metal::CommandBuffer& buffer, const Matrix& input, const Vector* bias,
                          const Matrix& result, const RowsPlace& place) const {
  const EncodeChecks checks("mps.matrix_neuron", buffer, place.batch, result.layout().matrices);
  const std::uint64_t rows = extent(place.rows, input.layout().rows, place.source.row);
  const std::uint64_t columns = extent(place.columns, input.layout().columns, place.source.column);
  const Part from = part("the input", input, place.source, rows, columns);
  const Part to = part("the result", result, place.result, rows, columns);
  checks.type(from, kFloating);
  checks.same_type(from, to);
  checks.inside(from);
  checks.inside(to);
  checks.apart_or_same(to, from);
  check_bias(checks, bias, to);
  if (slopes_ != 0 && slopes_ != columns) {
    refuse(checks.op(), "there are " + std::to_string(slopes_) + " slopes for " +
                            std::to_string(columns) + " columns");
  }
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixNeuron>(kernel_);
  messages::set_source_origin(kernel, to_mtl(place.source));
  messages::set_unary_result_origin(kernel, to_mtl(place.result));
  messages::set_unary_batch_start(kernel, checks.batch().start);
  messages::set_unary_batch_size(kernel, checks.batch().size);
  messages::set_neuron_rows(kernel, rows);
  messages::set_neuron_columns(kernel, columns);
  messages::encode_neuron(kernel, buffer.object().get(), input.object().get(), object_of(bias),
                          result.object().get());
}

// ---- MatrixFullyConnected

MatrixFullyConnected::MatrixFullyConnected(const metal::Device& device, const Neuron& neuron,
                                           double alpha) {
  const std::string op = "mps.matrix_fully_connected";
  const std::int32_t type = checked_type(op, neuron);
  detail::check_finite(op, "alpha", alpha);
  kernel_ =
      make_kernel<objc::MPSMatrixFullyConnected>(messages::init_connected, device.object().get());
  auto* const kernel = kernel_as<objc::MPSMatrixFullyConnected>(kernel_);
  messages::set_connected_neuron(kernel, type, neuron.a, neuron.b, neuron.c);
  messages::set_connected_alpha(kernel, alpha);
}

void MatrixFullyConnected::encode(metal::CommandBuffer& buffer, const Matrix& input,
                                  const Matrix& weights, const Vector* bias, const Matrix& result,
                                  const FullyConnectedPlace& place) const {
  const EncodeChecks checks("mps.matrix_fully_connected", buffer, place.batch,
                            result.layout().matrices);
  const std::uint64_t rows = extent(place.rows, input.layout().rows, place.input.row);
  const std::uint64_t inputs = extent(place.inputs, input.layout().columns, place.input.column);
  const std::uint64_t outputs =
      extent(place.outputs, weights.layout().columns, place.weights.column);
  const std::uint64_t weight_rows = extent(place.inputs, weights.layout().rows, place.weights.row);
  const Part x = part("the input", input, place.input, rows, inputs);
  const Part w = part("the weights", weights, place.weights, weight_rows, outputs);
  const Part y = part("the result", result, place.result, rows, outputs);
  checks.type(x, kFloating);
  checks.same_type(x, w);
  checks.same_type(x, y);
  for (const Part* one : {&x, &w, &y}) checks.inside(*one);
  if (weight_rows != inputs) {
    refuse(checks.op(), "the input has " + std::to_string(inputs) + " columns, but the weights " +
                            std::to_string(weight_rows) + " rows");
  }
  checks.apart(y, x);
  checks.apart(y, w);
  check_bias(checks, bias, y);
  const AutoreleaseScope scope;
  auto* const kernel = kernel_as<objc::MPSMatrixFullyConnected>(kernel_);
  messages::set_primary_origin(kernel, to_mtl(place.input));
  messages::set_secondary_origin(kernel, to_mtl(place.weights));
  messages::set_binary_result_origin(kernel, to_mtl(place.result));
  messages::set_binary_batch_start(kernel, checks.batch().start);
  messages::set_binary_batch_size(kernel, checks.batch().size);
  messages::set_connected_rows(kernel, rows);
  messages::set_connected_inputs(kernel, inputs);
  messages::set_connected_outputs(kernel, outputs);
  messages::encode_connected(kernel, buffer.object().get(), input.object().get(),
                             weights.object().get(), object_of(bias), result.object().get());
}

// ---- MatrixSum

MatrixSum::MatrixSum(const metal::Device& device, std::uint64_t count, std::uint64_t rows,
                     std::uint64_t columns, bool transpose, const Neuron& neuron)
    : device_(device), count_(count), rows_(rows), columns_(columns), transpose_(transpose) {
  const std::string op = "mps.matrix_sum";
  detail::check_positive(op, "the number of summands", count);
  detail::check_positive(op, "the number of rows", rows);
  detail::check_positive(op, "the number of columns", columns);
  const std::int32_t type = checked_type(op, neuron);
  kernel_ = make_kernel<objc::MPSMatrixSum>(messages::init_sum, device.object().get(), count, rows,
                                            columns, transpose);
  messages::set_sum_neuron(kernel_as<objc::MPSMatrixSum>(kernel_), type, neuron.a, neuron.b,
                           neuron.c);
}

void MatrixSum::encode(metal::CommandBuffer& buffer, std::span<const Summand> summands,
                       const Vector* bias, const Matrix& result, Origin origin) const {
  const EncodeChecks checks("mps.matrix_sum", buffer, {0, 1}, result.layout().matrices);
  if (summands.size() != count_) {
    refuse(checks.op(), "the sum is of " + std::to_string(count_) + " matrices; got " +
                            std::to_string(summands.size()));
  }
  const Part to = part("the result", result, origin, transpose_ ? columns_ : rows_,
                       transpose_ ? rows_ : columns_);
  checks.type(to, kFloating);
  checks.inside(to);
  check_bias(checks, bias, to);
  std::vector<float> scales;
  std::vector<std::uint32_t> offsets;
  std::vector<Object*> matrices;
  for (const Summand& one : summands) {
    const Part from = part("a summand", one.matrix, one.origin, rows_, columns_);
    checks.same_type(from, to);
    checks.inside(from);
    checks.apart(to, from);
    detail::check_factor(checks.op(), "a scale", one.scale, DataType::kFloat32);
    scales.push_back(one.scale);
    // Inside of a matrix, whose rows and columns fit 32 bits.
    offsets.push_back(static_cast<std::uint32_t>(one.origin.row));
    offsets.push_back(static_cast<std::uint32_t>(one.origin.column));
    matrices.push_back(one.matrix.object().get());
  }
  const AutoreleaseScope scope;
  const Vector scale = upload<float>(device_, scales, DataType::kFloat32);
  const Vector offset = upload<std::uint32_t>(device_, offsets, DataType::kUInt32);
  const auto array = objc::make_array(matrices);
  auto* const kernel = kernel_as<objc::MPSMatrixSum>(kernel_);
  messages::set_sum_origin(kernel, to_mtl(origin));
  messages::encode_sum(kernel, buffer.object().get(), array.get(), result.object().get(),
                       scale.object().get(), offset.object().get(), object_of(bias), 0);
}

}  // namespace wick::apple::mps

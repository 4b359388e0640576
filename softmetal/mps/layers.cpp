#include <cstring>
#include <optional>

#include "softmetal/mps/kernel.hpp"

// MPSMatrixNeuron, MPSMatrixFullyConnected and MPSMatrixSum.

namespace softmetal::mps {
namespace {

// ---- MPSMatrixNeuron

class NeuronState final : public UnaryKernelState {
 public:
  using UnaryKernelState::UnaryKernelState;
  Neuron neuron;
  std::vector<float> slopes;  // of a PReLU, one for each column
  double alpha = 1;
  std::uint64_t rows = kAll;
  std::uint64_t columns = kAll;
};
using N = NeuronState;

Object* init_neuron(Object* self, DeviceState& device) { return initialise<N>(self, device); }

void set_slopes(N& self, softmetal::DataState& data) {
  const std::vector<char>& bytes = data.bytes();
  if (bytes.size() % sizeof(float) != 0) fault("the parameters are no floats");
  self.slopes.resize(bytes.size() / sizeof(float));
  std::memcpy(self.slopes.data(), bytes.data(), bytes.size());
}

std::optional<Region> bias_region(VectorState* bias, std::uint64_t columns) {
  if (bias == nullptr) return std::nullopt;
  return Region("bias vector", *bias, {}, 1, columns, {0, 1});
}

void encode_neuron(N& self, CommandBufferState& buffer, MatrixState& input, VectorState* bias,
                   MatrixState& result) {
  check_type("the input", input.layout.type, {kFloat32, kFloat16});
  if (result.layout.type != input.layout.type) fault("input and result must have the same type");
  const Batch batch = self.batch(result);
  const std::uint64_t rows = extent(self.rows, input.layout.rows, self.source_origin.x);
  const std::uint64_t columns = extent(self.columns, input.layout.columns, self.source_origin.y);
  const Region from("input matrix", input, self.source_origin, rows, columns, batch);
  const Region to("result matrix", result, self.result_origin, rows, columns, batch);
  const std::optional<Region> added = bias_region(bias, columns);
  if (!to.is(from)) refuse_overlap(to, from, "the input");
  if (added) refuse_overlap(to, *added, "the bias");
  if (!self.slopes.empty() && self.slopes.size() != columns) {
    fault("a PReLU of " + std::to_string(self.slopes.size()) + " parameters for " +
          std::to_string(columns) + " columns");
  }
  input.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixNeuron",
              [from, to, added, f = self.neuron, slopes = self.slopes, alpha = self.alpha] {
                for (std::uint64_t b = 0; b < from.batches(); ++b) {
                  for (std::uint64_t i = 0; i < from.rows(); ++i) {
                    for (std::uint64_t j = 0; j < from.columns(); ++j) {
                      const double x =
                          alpha * from.get(b, i, j) + (added ? added->get(0, 0, j) : 0);
                      to.set(b, i, j, slopes.empty() ? f(x) : x >= 0 ? x : slopes[j] * x);
                    }
                  }
                }
              });
}

// ---- MPSMatrixFullyConnected

class FullyConnectedState final : public BinaryKernelState {
 public:
  using BinaryKernelState::BinaryKernelState;
  Neuron neuron;
  double alpha = 1;
  std::uint64_t rows = kAll;
  std::uint64_t inputs = kAll;
  std::uint64_t outputs = kAll;
};
using F = FullyConnectedState;

Object* init_connected(Object* self, DeviceState& device) { return initialise<F>(self, device); }

void connect(const Region& x, const Region& w, const Region& y, const std::optional<Region>& bias,
             double alpha, const Neuron& f) {
  for (std::uint64_t b = 0; b < y.batches(); ++b) {
    const std::vector<double> input = x.read(b), weights = w.read(b);
    for (std::uint64_t i = 0; i < y.rows(); ++i) {
      for (std::uint64_t j = 0; j < y.columns(); ++j) {
        double sum = 0;
        for (std::uint64_t k = 0; k < x.columns(); ++k) {
          sum += input[i * x.columns() + k] * weights[k * y.columns() + j];
        }
        y.set(b, i, j, f(alpha * sum + (bias ? bias->get(0, 0, j) : 0)));
      }
    }
  }
}

void encode_connected(F& self, CommandBufferState& buffer, MatrixState& input, MatrixState& weights,
                      VectorState* bias, MatrixState& result) {
  const Type type = input.layout.type;
  check_type("the input", type, {kFloat32, kFloat16});
  if (weights.layout.type != type || result.layout.type != type) {
    fault("input, weights and result must have the same type");
  }
  const Batch batch = self.batch(result);
  const MTLOrigin in = self.primary_origin, of = self.secondary_origin;
  const std::uint64_t rows = extent(self.rows, input.layout.rows, in.x);
  const std::uint64_t inputs =
      extent(extent(self.inputs, input.layout.columns, in.y), weights.layout.rows, of.x);
  const std::uint64_t outputs = extent(self.outputs, weights.layout.columns, of.y);
  const Region x("input matrix", input, in, rows, inputs, batch);
  const Region w("weight matrix", weights, of, inputs, outputs, batch);
  const Region y("result matrix", result, self.result_origin, rows, outputs, batch);
  const std::optional<Region> added = bias_region(bias, outputs);
  refuse_overlap(y, x, "the input");
  refuse_overlap(y, w, "the weights");
  if (added) refuse_overlap(y, *added, "the bias");
  input.note_read(buffer);
  weights.note_read(buffer);
  result.note_write(buffer);
  self.encode(
      buffer, "MPSMatrixFullyConnected",
      [x, w, y, added, alpha = self.alpha, f = self.neuron] { connect(x, w, y, added, alpha, f); });
}

// ---- MPSMatrixSum

class SumState final : public KernelState {
 public:
  SumState(DeviceState& of, std::uint64_t n, std::uint64_t r, std::uint64_t c, bool turned)
      : KernelState(of), count(n), rows(r), columns(c), transpose(turned) {}
  const std::uint64_t count, rows, columns;
  const bool transpose;
  Neuron neuron;
  MTLOrigin result_origin{};
};
using S = SumState;

Object* init_sum(Object* self, DeviceState& device, std::uint64_t count, std::uint64_t rows,
                 std::uint64_t columns, bool transpose) {
  if (count == 0 || rows == 0 || columns == 0) fault("count, rows and columns may not be 0");
  return initialise<S>(self, device, count, rows, columns, transpose);
}

/// One source: offsets are read when it runs, as on a GPU.
struct Term {
  Hold<MatrixState> matrix;
  double get(MTLOrigin from, std::uint64_t i, std::uint64_t j) const {
    return Region("source matrix", *matrix, {from.x + i, from.y + j, 0}, 1, 1, {0, 1}).get(0, 0, 0);
  }
};

struct Sum {
  std::vector<Term> terms;
  std::optional<Region> scales, offsets, bias;
  std::uint64_t first = 0;
  bool transpose = false;
  Neuron neuron;

  MTLOrigin origin(std::uint64_t k) const {
    if (!offsets) return {};
    const auto at = [&](std::uint64_t i) {
      return static_cast<std::uint64_t>(offsets->get(0, 0, 2 * (first + k) + i));
    };
    return {at(0), at(1), 0};
  }
  void run(const Region& result) const {
    for (std::uint64_t i = 0; i < result.rows(); ++i) {
      for (std::uint64_t j = 0; j < result.columns(); ++j) {
        double sum = bias ? bias->get(0, 0, j) : 0;
        for (std::uint64_t k = 0; k < terms.size(); ++k) {
          const double x = terms[k].get(origin(k), transpose ? j : i, transpose ? i : j);
          sum += (scales ? scales->get(0, 0, first + k) : 1) * x;
        }
        result.set(0, i, j, neuron(sum));
      }
    }
  }
};

void encode_sum(S& self, CommandBufferState& buffer, ArrayState& sources, MatrixState& result,
                VectorState* scales, VectorState* offsets, VectorState* bias, std::uint64_t first) {
  const Type type = result.layout.type;
  check_type("the result", type, {kFloat32, kFloat16});
  if (sources.objects().size() != self.count) fault("not as many matrices as the count says");
  const Region to("result matrix", result, self.result_origin,
                  self.transpose ? self.columns : self.rows,
                  self.transpose ? self.rows : self.columns, {0, 1});
  Sum sum{.first = first, .transpose = self.transpose, .neuron = self.neuron};
  if (scales != nullptr) {
    check_type("the scales", scales->layout.type, {kFloat32});
    sum.scales.emplace("scale vector", *scales, MTLOrigin{}, 1, first + self.count, Batch{});
  }
  if (offsets != nullptr) {
    check_type("the offsets", offsets->layout.type, {kUInt32});
    sum.offsets.emplace("offset vector", *offsets, MTLOrigin{}, 1, 2 * (first + self.count),
                        Batch{});
  }
  sum.bias = bias_region(bias, to.columns());
  for (MatrixState* source : sources.states<MatrixState>()) {
    if (source->layout.type != type) fault("sources and result must have the same type");
    const Region from("source matrix", *source, {}, self.rows, self.columns, {0, 1});
    refuse_overlap(to, from, "a source");
    source->note_read(buffer);
    sum.terms.push_back({Hold(source)});
  }
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixSum", [sum, to] { sum.run(to); });
}

}  // namespace

void register_layers() {
  ClassBuilder<"MPSMatrixNeuron">("MPSMatrixNeuron", "MPSMatrixUnaryKernel")
      .method<"initWithDevice:", &init_neuron>()
      .method<"setNeuronType:parameterA:parameterB:parameterC:", &set_neuron<N>>()
      .method<"setNeuronToPReLUWithParametersA:", &set_slopes>()
      .method<"setAlpha:", &set_property<N, &N::alpha>>()
      .method<"setSourceNumberOfFeatureVectors:", &set_property<N, &N::rows>>()
      .method<"setSourceInputFeatureChannels:", &set_property<N, &N::columns>>()
      .method<"encodeToCommandBuffer:inputMatrix:biasVector:resultMatrix:", &encode_neuron>()
      .done();
  ClassBuilder<"MPSMatrixFullyConnected">("MPSMatrixFullyConnected", "MPSMatrixBinaryKernel")
      .method<"initWithDevice:", &init_connected>()
      .method<"setNeuronType:parameterA:parameterB:parameterC:", &set_neuron<F>>()
      .method<"setAlpha:", &set_property<F, &F::alpha>>()
      .method<"setSourceNumberOfFeatureVectors:", &set_property<F, &F::rows>>()
      .method<"setSourceInputFeatureChannels:", &set_property<F, &F::inputs>>()
      .method<"setSourceOutputFeatureChannels:", &set_property<F, &F::outputs>>()
      .method<"encodeToCommandBuffer:inputMatrix:weightMatrix:biasVector:resultMatrix:",
              &encode_connected>()
      .done();
  ClassBuilder<"MPSMatrixSum">("MPSMatrixSum", "MPSKernel")
      .method<"initWithDevice:count:rows:columns:transpose:", &init_sum>()
      .method<"setNeuronType:parameterA:parameterB:parameterC:", &set_neuron<S>>()
      .method<"setResultMatrixOrigin:", &set_property<S, &S::result_origin>>()
      .method<
          "encodeToCommandBuffer:sourceMatrices:resultMatrix:scaleVector:offsetVector:"
          "biasVector:startIndex:",
          &encode_sum>()
      .done();
}

}  // namespace softmetal::mps

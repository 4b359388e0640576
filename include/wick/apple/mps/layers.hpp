#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wick/apple/mps/rows.hpp"

/// Layers of networks: activations, fully connected layers, weighted sums.
namespace wick::apple::mps {

/// A function of one number with parameters a, b and c, as MPS numbers it.
enum class NeuronType : std::int32_t {
  kNone = 0,          ///< x
  kReLU = 1,          ///< x >= 0 ? x : a x
  kLinear = 2,        ///< a x + b
  kSigmoid = 3,       ///< 1 / (1 + e^-x)
  kHardSigmoid = 4,   ///< a x + b, at least 0 and at most 1
  kTanH = 5,          ///< a tanh(b x)
  kAbsolute = 6,      ///< |x|
  kSoftPlus = 7,      ///< a log(1 + e^(b x))
  kSoftSign = 8,      ///< x / (1 + |x|)
  kELU = 9,           ///< x >= 0 ? x : a (e^x - 1)
  kReLUN = 11,        ///< x >= 0 ? x : a x, at most b
  kPower = 12,        ///< (a x + b)^c
  kExponential = 13,  ///< c^(a x + b)
  kLogarithm = 14,    ///< log(a x + b) to the base c
  kGeLU = 15          ///< x (1 + erf(x sqrt(1/2))) / 2
};
/// A type with its parameters.
struct Neuron {
  NeuronType type = NeuronType::kNone;
  float a = 0;
  float b = 0;
  float c = 0;
};

/// neuron(alpha x + bias), by MPSMatrixNeuron.
class MatrixNeuron {
 public:
  /// Throws Error kArgument for a type that is none, or an alpha that is not finite.
  explicit MatrixNeuron(const metal::Device& device, const Neuron& neuron, double alpha = 1);
  /// x >= 0 ? x : slopes[column] x. Throws Error kArgument for no slopes.
  MatrixNeuron(const metal::Device& device, std::span<const float> slopes, double alpha = 1);
  /// Encodes it; the bias, which may be null, has a value for each column. Input, bias and result are all Float32 or all
  /// Float16, and input and result may be the same elements. Throws Error kArgument for other types, for a part that is not
  /// in both, for a bias or slopes of another length, and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, const Matrix& input, const Vector* bias,
              const Matrix& result, const RowsPlace& place = {}) const;

 private:
  std::size_t slopes_ = 0;
  Ref<objc::MPSKernel> kernel_;
};

/// Where MatrixFullyConnected begins in each matrix, and how much it works on; kAll is to the end of input and weights.
struct FullyConnectedPlace {
  Origin input{};
  Origin weights{};
  Origin result{};
  std::uint64_t rows = kAll;
  std::uint64_t inputs = kAll;
  std::uint64_t outputs = kAll;
  Batch batch{};
};

/// neuron(alpha x weights + bias), by MPSMatrixFullyConnected. The weights are inputs x outputs.
class MatrixFullyConnected {
 public:
  /// As MatrixNeuron.
  explicit MatrixFullyConnected(const metal::Device& device, const Neuron& neuron = {},
                                double alpha = 1);
  /// Encodes it; the bias, which may be null, has a value for each output. All are Float32 or all are Float16. Throws Error
  /// kArgument for other types, for parts that are not there, for inputs that differ from the rows of the weights, and
  /// when the result overlaps an operand or nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, const Matrix& input, const Matrix& weights,
              const Vector* bias, const Matrix& result,
              const FullyConnectedPlace& place = {}) const;

 private:
  Ref<objc::MPSKernel> kernel_;
};

/// One summand of a MatrixSum.
struct Summand {
  Matrix matrix;
  float scale = 1;
  Origin origin{};
};

/// neuron(sum of scale matrix + bias), perhaps transposed before the bias, by MPSMatrixSum.
class MatrixSum {
 public:
  /// Of `count` summands, rows x columns of each. Throws Error kArgument when one of the three is 0.
  MatrixSum(const metal::Device& device, std::uint64_t count, std::uint64_t rows,
            std::uint64_t columns, bool transpose = false, const Neuron& neuron = {});
  /// Encodes it; the bias, which may be null, has a value for each column of the result. All are Float32 or all are Float16.
  /// Throws Error kArgument for another number of summands, other types, parts that are not there, and when the result
  /// overlaps a summand or nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, std::span<const Summand> summands, const Vector* bias,
              const Matrix& result, Origin origin = {}) const;

 private:
  metal::Device device_;
  std::uint64_t count_, rows_, columns_;
  bool transpose_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps

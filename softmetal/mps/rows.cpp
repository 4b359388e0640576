#include <algorithm>
#include <cmath>
#include <numeric>

#include "softmetal/mps/kernel.hpp"

// Kernels that work row by row: MPSMatrixSoftMax, MPSMatrixLogSoftMax, their gradients, and MPSMatrixFindTopK.

namespace softmetal::mps {
namespace {

// ---- MPSMatrixSoftMax and MPSMatrixLogSoftMax

class SoftMaxState final : public UnaryKernelState {
 public:
  SoftMaxState(DeviceState& of, bool log) : UnaryKernelState(of), logarithm(log) {}
  const bool logarithm;
  std::uint64_t rows = kAll;
  std::uint64_t columns = kAll;
};
using S = SoftMaxState;

template <bool Log>
Object* init_softmax(Object* self, DeviceState& device) {
  return initialise<S>(self, device, Log);
}

void softmax_row(std::vector<double>& row, bool logarithm) {
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const double x : row) sum += std::exp(x - most);
  const double log_sum = most + std::log(sum);
  for (double& x : row) x = logarithm ? x - log_sum : std::exp(x - log_sum);
}

void encode_softmax(S& self, CommandBufferState& buffer, MatrixState& input, MatrixState& result) {
  check_type("the input", input.layout.type, {kFloat32, kFloat16});
  if (result.layout.type != input.layout.type) fault("input and result must have the same type");
  const Batch batch = self.batch(result);
  const std::uint64_t rows = extent(self.rows, input.layout.rows, self.source_origin.x);
  const std::uint64_t columns = extent(self.columns, input.layout.columns, self.source_origin.y);
  const Region from("input matrix", input, self.source_origin, rows, columns, batch);
  const Region to("result matrix", result, self.result_origin, rows, columns, batch);
  if (!to.is(from)) refuse_overlap(to, from, "the input");
  input.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixSoftMax", [from, to, log = self.logarithm] {
    std::vector<double> row(from.columns());
    for (std::uint64_t b = 0; b < from.batches(); ++b) {
      for (std::uint64_t i = 0; i < from.rows(); ++i) {
        for (std::uint64_t j = 0; j < row.size(); ++j) row[j] = from.get(b, i, j);
        softmax_row(row, log);
        for (std::uint64_t j = 0; j < row.size(); ++j) to.set(b, i, j, row[j]);
      }
    }
  });
}

// ---- their gradients

class SoftMaxGradientState final : public BinaryKernelState {
 public:
  SoftMaxGradientState(DeviceState& of, bool log) : BinaryKernelState(of), logarithm(log) {}
  const bool logarithm;
  std::uint64_t rows = kAll;
  std::uint64_t columns = kAll;
};
using G = SoftMaxGradientState;

template <bool Log>
Object* init_gradient(Object* self, DeviceState& device) {
  return initialise<G>(self, device, Log);
}

void gradient_rows(const Region& dy, const Region& y, const Region& dx, bool logarithm) {
  for (std::uint64_t b = 0; b < dy.batches(); ++b) {
    for (std::uint64_t i = 0; i < dy.rows(); ++i) {
      double sum = 0;
      for (std::uint64_t j = 0; j < dy.columns(); ++j) {
        sum += dy.get(b, i, j) * (logarithm ? 1 : y.get(b, i, j));
      }
      for (std::uint64_t j = 0; j < dy.columns(); ++j) {
        const double g = dy.get(b, i, j), out = y.get(b, i, j);
        dx.set(b, i, j, logarithm ? g - std::exp(out) * sum : out * (g - sum));
      }
    }
  }
}

void encode_gradient(G& self, CommandBufferState& buffer, MatrixState& gradient,
                     MatrixState& output, MatrixState& result) {
  check_type("the gradient", gradient.layout.type, {kFloat32, kFloat16});
  if (result.layout.type != gradient.layout.type || output.layout.type != gradient.layout.type) {
    fault("gradient, output and result must have the same type");
  }
  const Batch batch = self.batch(result);
  const std::uint64_t rows = extent(self.rows, gradient.layout.rows, self.primary_origin.x);
  const std::uint64_t columns =
      extent(self.columns, gradient.layout.columns, self.primary_origin.y);
  const Region dy("gradient matrix", gradient, self.primary_origin, rows, columns, batch);
  const Region y("forward output matrix", output, self.secondary_origin, rows, columns, batch);
  const Region dx("result matrix", result, self.result_origin, rows, columns, batch);
  refuse_overlap(dx, dy, "the gradient");
  refuse_overlap(dx, y, "the forward output");
  gradient.note_read(buffer);
  output.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixSoftMaxGradient",
              [dy, y, dx, log = self.logarithm] { gradient_rows(dy, y, dx, log); });
}

// ---- MPSMatrixFindTopK

class TopKState final : public UnaryKernelState {
 public:
  TopKState(DeviceState& of, std::uint64_t k) : UnaryKernelState(of), count(k) {}
  std::uint64_t count;
  std::uint64_t index_offset = 0;
  std::uint64_t rows = kAll;
  std::uint64_t columns = kAll;
};
using T = TopKState;

Object* init_top_k(Object* self, DeviceState& device, std::uint64_t count) {
  constexpr std::uint64_t kMost = 16;
  if (count == 0 || count > kMost) {
    fault("numberOfTopKValues " + std::to_string(count) + " must be 1 to 16");
  }
  return initialise<T>(self, device, count);
}

void top_k_rows(const Region& from, const Region& indices, const Region& values,
                std::uint64_t offset) {
  std::vector<std::uint64_t> order(from.columns());
  for (std::uint64_t b = 0; b < from.batches(); ++b) {
    for (std::uint64_t i = 0; i < from.rows(); ++i) {
      std::iota(order.begin(), order.end(), 0);
      // NaN counts as less than everything: a sort needs an order.
      const auto key = [&](std::uint64_t j) {
        const double x = from.get(b, i, j);
        return std::isnan(x) ? -HUGE_VAL : x;
      };
      std::sort(order.begin(), order.end(), [&](std::uint64_t l, std::uint64_t r) {
        return key(l) > key(r) || (key(l) == key(r) && l < r);
      });
      for (std::uint64_t j = 0; j < values.columns(); ++j) {
        indices.set(b, i, j, static_cast<double>(order[j] + offset));
        values.set(b, i, j, from.get(b, i, order[j]));
      }
    }
  }
}

void encode_top_k(T& self, CommandBufferState& buffer, MatrixState& input, MatrixState& indices,
                  MatrixState& values) {
  check_type("the input", input.layout.type, {kFloat32, kFloat16});
  check_type("the indices", indices.layout.type, {kUInt32});
  if (values.layout.type != input.layout.type) fault("input and values must have the same type");
  const Batch batch = self.batch(values);
  const std::uint64_t rows = extent(self.rows, input.layout.rows, self.source_origin.x);
  const std::uint64_t columns = extent(self.columns, input.layout.columns, self.source_origin.y);
  if (columns < self.count) fault("fewer columns than numberOfTopKValues");
  const Region from("input matrix", input, self.source_origin, rows, columns, batch);
  const Region at("result index matrix", indices, self.result_origin, rows, self.count, batch);
  const Region best("result value matrix", values, self.result_origin, rows, self.count, batch);
  refuse_overlap(at, from, "the input");
  refuse_overlap(best, from, "the input");
  refuse_overlap(best, at, "the indices");
  input.note_read(buffer);
  indices.note_write(buffer);
  values.note_write(buffer);
  self.encode(buffer, "MPSMatrixFindTopK",
              [from, at, best, offset = self.index_offset] { top_k_rows(from, at, best, offset); });
}

}  // namespace

void register_rows() {
  ClassBuilder<"MPSMatrixSoftMax">("MPSMatrixSoftMax", "MPSMatrixUnaryKernel")
      .method<"initWithDevice:", &init_softmax<false>>()
      .method<"setSourceRows:", &set_property<S, &S::rows>>()
      .method<"setSourceColumns:", &set_property<S, &S::columns>>()
      .method<"encodeToCommandBuffer:inputMatrix:resultMatrix:", &encode_softmax>()
      .done();
  ClassBuilder<"MPSMatrixSoftMax">("MPSMatrixLogSoftMax", "MPSMatrixSoftMax")
      .method<"initWithDevice:", &init_softmax<true>>()
      .done();
  ClassBuilder<"MPSMatrixSoftMaxGradient">("MPSMatrixSoftMaxGradient", "MPSMatrixBinaryKernel")
      .method<"initWithDevice:", &init_gradient<false>>()
      .method<"setSourceRows:", &set_property<G, &G::rows>>()
      .method<"setSourceColumns:", &set_property<G, &G::columns>>()
      .method<"encodeToCommandBuffer:gradientMatrix:forwardOutputMatrix:resultMatrix:",
              &encode_gradient>()
      .done();
  ClassBuilder<"MPSMatrixSoftMaxGradient">("MPSMatrixLogSoftMaxGradient",
                                           "MPSMatrixSoftMaxGradient")
      .method<"initWithDevice:", &init_gradient<true>>()
      .done();
  ClassBuilder<"MPSMatrixFindTopK">("MPSMatrixFindTopK", "MPSMatrixUnaryKernel")
      .method<"initWithDevice:numberOfTopKValues:", &init_top_k>()
      .method<"numberOfTopKValues", &get_property<T, &T::count>>()
      .method<"setIndexOffset:", &set_property<T, &T::index_offset>>()
      .method<"indexOffset", &get_property<T, &T::index_offset>>()
      .method<"setSourceRows:", &set_property<T, &T::rows>>()
      .method<"setSourceColumns:", &set_property<T, &T::columns>>()
      .method<"encodeToCommandBuffer:inputMatrix:resultIndexMatrix:resultValueMatrix:",
              &encode_top_k>()
      .done();
}

}  // namespace softmetal::mps

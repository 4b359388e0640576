#include <cmath>

#include "softmetal/mps/kernel.hpp"

// MPSMatrixMultiplication and MPSMatrixVectorMultiplication: plain loops that sum in double.

namespace softmetal::mps {
namespace {

/// C = alpha op(A) op(B) + beta C; what is in C is not read when beta is 0.
struct Product {
  bool transpose_left, transpose_right;
  std::uint64_t rows, columns, inner;
  double alpha, beta;

  void run(const Region& left, const Region& right, const Region& result, std::uint64_t b) const {
    const std::vector<double> l = left.read(b), r = right.read(b);
    std::vector<double> sums(columns);
    for (std::uint64_t i = 0; i < rows; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::uint64_t k = 0; k < inner; ++k) {
        const double x = l[transpose_left ? k * rows + i : i * inner + k];
        const std::uint64_t step = transpose_right ? inner : 1;
        const double* y = r.data() + (transpose_right ? k : k * columns);
        for (std::uint64_t j = 0; j < columns; ++j) sums[j] += x * y[j * step];
      }
      for (std::uint64_t j = 0; j < columns; ++j) {
        const double old = beta == 0 ? 0 : beta * result.get(b, i, j);
        result.set(b, i, j, alpha * sums[j] + old);
      }
    }
  }
};

void check_sizes(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  if (a == 0 || b == 0 || c == 0) fault("a size of the product is 0");
}

// ---- MPSMatrixMultiplication

class MultiplicationState final : public BatchKernelState {
 public:
  MultiplicationState(DeviceState& of, const Product& what) : BatchKernelState(of), product(what) {}
  const Product product;
  MTLOrigin left_origin{};
  MTLOrigin right_origin{};
};
using M = MultiplicationState;

Object* init_product(Object* self, DeviceState& device, bool left, bool right, std::uint64_t rows,
                     std::uint64_t columns, std::uint64_t inner, double alpha, double beta) {
  check_sizes(rows, columns, inner);
  return initialise<M>(self, device, Product{left, right, rows, columns, inner, alpha, beta});
}
Object* init_plain_product(Object* self, DeviceState& device, std::uint64_t rows,
                           std::uint64_t columns, std::uint64_t inner) {
  return init_product(self, device, false, false, rows, columns, inner, 1, 0);
}

void check_types(Type a, Type b, Type c) {
  constexpr Type kKnown[][3] = {
      {kFloat32, kFloat32, kFloat32}, {kFloat16, kFloat16, kFloat16},
      {kFloat16, kFloat16, kFloat32}, {kInt8, kInt8, kFloat16},
      {kInt8, kInt8, kFloat32},       {kInt16, kInt16, kFloat32},
      {kFloat32, kFloat16, kFloat32},
  };
  for (const auto& known : kKnown) {
    if (known[0] == a && known[1] == b && known[2] == c) return;
  }
  check_type("an input", a, {kFloat32, kFloat16, kInt8, kInt16});
  check_type("an input", b, {kFloat32, kFloat16, kInt8, kInt16});
  fault("no product of " + type_name(a) + " and " + type_name(b) + " in " + type_name(c));
}

void encode_product(M& self, CommandBufferState& buffer, MatrixState& left, MatrixState& right,
                    MatrixState& result) {
  const Product& p = self.product;
  check_types(left.layout.type, right.layout.type, result.layout.type);
  const Batch batch = self.batch(result);
  const Region a("left input matrix", left, self.left_origin, p.transpose_left ? p.inner : p.rows,
                 p.transpose_left ? p.rows : p.inner, batch);
  const Region b("right input matrix", right, self.right_origin,
                 p.transpose_right ? p.columns : p.inner, p.transpose_right ? p.inner : p.columns,
                 batch);
  const Region c("result matrix", result, self.result_origin, p.rows, p.columns, batch);
  refuse_overlap(c, a, "the left matrix");
  refuse_overlap(c, b, "the right matrix");
  left.note_read(buffer);
  right.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixMultiplication", [p, a, b, c] {
    for (std::uint64_t i = 0; i < c.batches(); ++i) p.run(a, b, c, i);
  });
}

// ---- MPSMatrixVectorMultiplication

class VectorMultiplicationState final : public BinaryKernelState {
 public:
  VectorMultiplicationState(DeviceState& of, const Product& what)
      : BinaryKernelState(of), product(what) {}
  const Product product;
};
using V = VectorMultiplicationState;

Object* init_vector_product(Object* self, DeviceState& device, bool transpose, std::uint64_t rows,
                            std::uint64_t columns, double alpha, double beta) {
  check_sizes(rows, columns, 1);
  // y^T = x^T op(A)^T: a vector is a matrix of one row.
  return initialise<V>(self, device, Product{false, !transpose, 1, rows, columns, alpha, beta});
}
Object* init_plain_vector_product(Object* self, DeviceState& device, std::uint64_t rows,
                                  std::uint64_t columns) {
  return init_vector_product(self, device, false, rows, columns, 1, 0);
}

void encode_vector_product(V& self, CommandBufferState& buffer, MatrixState& matrix,
                           VectorState& input, VectorState& result) {
  const Product& p = self.product;
  const Type a = matrix.layout.type, x = input.layout.type, y = result.layout.type;
  check_type("the matrix", a, {kFloat32, kFloat16});
  if (x != a || (y != a && y != kFloat32)) {
    fault("no product of " + type_name(a) + " and " + type_name(x) + " in " + type_name(y));
  }
  const Batch batch = self.batch(result);
  const auto along = [](MTLOrigin origin) {
    if (origin.y != 0) fault("origin.y of a vector must be 0");
    return MTLOrigin{0, origin.x, origin.z};
  };
  const Region m("input matrix", matrix, self.primary_origin,
                 p.transpose_right ? p.columns : p.inner, p.transpose_right ? p.inner : p.columns,
                 batch);
  const Region in("input vector", input, along(self.secondary_origin), 1, p.inner, batch);
  const Region out("result vector", result, along(self.result_origin), 1, p.columns, batch);
  refuse_overlap(out, m, "the matrix");
  refuse_overlap(out, in, "the input vector");
  matrix.note_read(buffer);
  self.encode(buffer, "MPSMatrixVectorMultiplication", [p, m, in, out] {
    for (std::uint64_t i = 0; i < out.batches(); ++i) p.run(in, m, out, i);
  });
}

}  // namespace

void register_products() {
  ClassBuilder<"MPSMatrixMultiplication">("MPSMatrixMultiplication", "MPSKernel")
      .method<
          "initWithDevice:transposeLeft:transposeRight:resultRows:resultColumns:interiorColumns:"
          "alpha:beta:",
          &init_product>()
      .method<"initWithDevice:resultRows:resultColumns:interiorColumns:", &init_plain_product>()
      .method<"setLeftMatrixOrigin:", &set_property<M, &M::left_origin>>()
      .method<"setRightMatrixOrigin:", &set_property<M, &M::right_origin>>()
      .method<"setResultMatrixOrigin:", &set_property<M, &M::result_origin>>()
      .method<"setBatchStart:", &set_property<M, &M::batch_start>>()
      .method<"setBatchSize:", &set_property<M, &M::batch_size>>()
      .method<"batchStart", &get_property<M, &M::batch_start>>()
      .method<"batchSize", &get_property<M, &M::batch_size>>()
      .method<"encodeToCommandBuffer:leftMatrix:rightMatrix:resultMatrix:", &encode_product>()
      .done();
  ClassBuilder<"MPSMatrixVectorMultiplication">("MPSMatrixVectorMultiplication",
                                                "MPSMatrixBinaryKernel")
      .method<"initWithDevice:transpose:rows:columns:alpha:beta:", &init_vector_product>()
      .method<"initWithDevice:rows:columns:", &init_plain_vector_product>()
      .method<"encodeToCommandBuffer:inputMatrix:inputVector:resultVector:",
              &encode_vector_product>()
      .done();
}

}  // namespace softmetal::mps

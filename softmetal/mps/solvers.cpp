#include <cmath>
#include <cstring>

#include "softmetal/mps/kernel.hpp"

// Factorizations and solvers of Float32 matrices.

namespace softmetal::mps {
namespace {

// MPSMatrixDecompositionStatus
constexpr std::int32_t kSuccess = 0, kSingular = -2, kNotPositiveDefinite = -3;

using Square = std::vector<double>;  // row by row

void write_status(const Hold<BufferState>& status, std::int32_t value) {
  if (status) std::memcpy(status->bytes(), &value, sizeof(value));
}
void check_status(BufferState* status) {
  if (status == nullptr) return;
  if (status->is_private()) fault("a status that the CPU cannot read");
  status->check_range("the status", 0, sizeof(std::int32_t));
}
void check_real(const char* name, const DataState& data) {
  check_type(name, data.layout.type, {kFloat32});
}
void check_order(std::uint64_t a, std::uint64_t b) {
  if (a == 0 || b == 0) fault("a size of the system is 0");
}

// ---- MPSMatrixDecompositionLU

class LuState final : public UnaryKernelState {
 public:
  LuState(DeviceState& of, std::uint64_t r, std::uint64_t c)
      : UnaryKernelState(of), rows(r), columns(c) {}
  const std::uint64_t rows, columns;
};

Object* init_lu(Object* self, DeviceState& device, std::uint64_t rows, std::uint64_t columns) {
  check_order(rows, columns);
  return initialise<LuState>(self, device, rows, columns);
}

/// In place, with the row that was swapped with each.
std::int32_t factor_lu(Square& a, std::uint64_t rows, std::uint64_t columns,
                       std::vector<std::uint64_t>& pivots) {
  std::int32_t status = kSuccess;
  for (std::uint64_t k = 0; k < std::min(rows, columns); ++k) {
    std::uint64_t best = k;
    for (std::uint64_t i = k + 1; i < rows; ++i) {
      if (std::abs(a[i * columns + k]) > std::abs(a[best * columns + k])) best = i;
    }
    pivots.push_back(best);
    for (std::uint64_t j = 0; j < columns; ++j)
      std::swap(a[k * columns + j], a[best * columns + j]);
    const double pivot = a[k * columns + k];
    if (pivot == 0) {
      status = kSingular;
      continue;
    }
    for (std::uint64_t i = k + 1; i < rows; ++i) {
      const double factor = a[i * columns + k] /= pivot;
      for (std::uint64_t j = k + 1; j < columns; ++j)
        a[i * columns + j] -= factor * a[k * columns + j];
    }
  }
  return status;
}

void encode_lu(LuState& self, CommandBufferState& buffer, MatrixState& source, MatrixState& result,
               MatrixState& pivots, BufferState* status) {
  check_real("the source", source);
  check_real("the result", result);
  check_type("the pivots", pivots.layout.type, {kUInt32});
  check_status(status);
  const Batch batch = self.batch(result);
  const Region from("source matrix", source, self.source_origin, self.rows, self.columns, batch);
  const Region to("result matrix", result, self.result_origin, self.rows, self.columns, batch);
  const Region at("pivot indices", pivots, {}, 1, std::min(self.rows, self.columns), batch);
  if (!to.is(from)) refuse_overlap(to, from, "the source");
  refuse_overlap(at, from, "the source");
  refuse_overlap(at, to, "the result");
  source.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixDecompositionLU", [from, to, at, held = Hold(status)] {
    for (std::uint64_t b = 0; b < to.batches(); ++b) {
      Square a = from.read(b);
      std::vector<std::uint64_t> swapped;
      write_status(held, factor_lu(a, to.rows(), to.columns(), swapped));
      to.write(b, a);
      for (std::uint64_t i = 0; i < swapped.size(); ++i) {
        at.set(b, 0, i, static_cast<double>(swapped[i]));
      }
    }
  });
}

// ---- MPSMatrixDecompositionCholesky

class CholeskyState final : public UnaryKernelState {
 public:
  CholeskyState(DeviceState& of, bool is_lower, std::uint64_t n)
      : UnaryKernelState(of), lower(is_lower), order(n) {}
  const bool lower;
  const std::uint64_t order;
};

Object* init_cholesky(Object* self, DeviceState& device, bool lower, std::uint64_t order) {
  check_order(order, 1);
  return initialise<CholeskyState>(self, device, lower, order);
}

/// Of the triangle that is chosen; the other is not touched.
std::int32_t factor_cholesky(Square& a, std::uint64_t n, bool lower) {
  const auto at = [&](std::uint64_t i, std::uint64_t j) -> double& {
    return lower ? a[i * n + j] : a[j * n + i];
  };
  for (std::uint64_t j = 0; j < n; ++j) {
    for (std::uint64_t i = j; i < n; ++i) {
      double sum = at(i, j);
      for (std::uint64_t k = 0; k < j; ++k) sum -= at(i, k) * at(j, k);
      if (i == j && !(sum > 0)) return kNotPositiveDefinite;
      at(i, j) = i == j ? std::sqrt(sum) : sum / at(j, j);
    }
  }
  return kSuccess;
}

void encode_cholesky(CholeskyState& self, CommandBufferState& buffer, MatrixState& source,
                     MatrixState& result, BufferState* status) {
  check_real("the source", source);
  check_real("the result", result);
  check_status(status);
  const Batch batch = self.batch(result);
  const Region from("source matrix", source, self.source_origin, self.order, self.order, batch);
  const Region to("result matrix", result, self.result_origin, self.order, self.order, batch);
  if (!to.is(from)) refuse_overlap(to, from, "the source");
  source.note_read(buffer);
  result.note_write(buffer);
  self.encode(buffer, "MPSMatrixDecompositionCholesky",
              [from, to, lower = self.lower, held = Hold(status)] {
                for (std::uint64_t b = 0; b < to.batches(); ++b) {
                  Square a = from.read(b);
                  write_status(held, factor_cholesky(a, to.rows(), lower));
                  for (std::uint64_t i = 0; i < to.rows(); ++i) {
                    for (std::uint64_t j = 0; j < to.rows(); ++j) {
                      if (lower ? j <= i : j >= i) to.set(b, i, j, a[i * to.rows() + j]);
                    }
                  }
                }
              });
}

// ---- solvers

/// A triangle of a matrix, perhaps transposed, perhaps with ones on its diagonal.
struct Triangle {
  const Square& a;
  std::uint64_t n;
  bool upper, transpose, unit;

  double at(std::uint64_t i, std::uint64_t j) const {
    return transpose ? a[j * n + i] : a[i * n + j];
  }
  /// x = inverse(op(triangle)) x for one column of x.
  void solve(double* x, std::uint64_t step) const {
    const bool backwards = upper != transpose;
    for (std::uint64_t s = 0; s < n; ++s) {
      const std::uint64_t i = backwards ? n - 1 - s : s;
      double sum = x[i * step];
      for (std::uint64_t k = backwards ? i + 1 : 0; k < (backwards ? n : i); ++k) {
        sum -= at(i, k) * x[k * step];
      }
      x[i * step] = unit ? sum : sum / at(i, i);
    }
  }
};

class SolverState final : public BinaryKernelState {
 public:
  SolverState(DeviceState& of, std::uint64_t n, std::uint64_t right_hand_sides)
      : BinaryKernelState(of), order(n), count(right_hand_sides) {}
  const std::uint64_t order, count;
  bool right = false, upper = false, transpose = false, unit = false;
  double alpha = 1;
};

Object* init_triangular(Object* self, DeviceState& device, bool right, bool upper, bool transpose,
                        bool unit, std::uint64_t order, std::uint64_t count, double alpha) {
  check_order(order, count);
  auto solver = std::make_unique<SolverState>(device, order, count);
  solver->right = right;
  solver->upper = upper;
  solver->transpose = transpose;
  solver->unit = unit;
  solver->alpha = alpha;
  attach_state(self, std::move(solver));
  return self;
}
Object* init_solve_lu(Object* self, DeviceState& device, bool transpose, std::uint64_t order,
                      std::uint64_t count) {
  return init_triangular(self, device, false, false, transpose, false, order, count, 1);
}
Object* init_solve_cholesky(Object* self, DeviceState& device, bool upper, std::uint64_t order,
                            std::uint64_t count) {
  return init_triangular(self, device, false, upper, false, false, order, count, 1);
}

/// What a solver reads and writes.
struct System {
  Region a, b, x;
};
System system_of(const SolverState& self, CommandBufferState& buffer, MatrixState& source,
                 MatrixState& right_hand_side, MatrixState& solution) {
  check_real("the source", source);
  check_real("the right-hand side", right_hand_side);
  check_real("the solution", solution);
  const Batch batch = self.batch(solution);
  const std::uint64_t rows = self.right ? self.count : self.order;
  const std::uint64_t columns = self.right ? self.order : self.count;
  System s{Region("source matrix", source, self.primary_origin, self.order, self.order, batch),
           Region("right hand side matrix", right_hand_side, self.secondary_origin, rows, columns,
                  batch),
           Region("solution matrix", solution, self.result_origin, rows, columns, batch)};
  refuse_overlap(s.x, s.a, "the source");
  refuse_overlap(s.x, s.b, "the right-hand side");
  source.note_read(buffer);
  right_hand_side.note_read(buffer);
  solution.note_write(buffer);
  return s;
}

void encode_triangular(SolverState& self, CommandBufferState& buffer, MatrixState& source,
                       MatrixState& right_hand_side, MatrixState& solution) {
  const System s = system_of(self, buffer, source, right_hand_side, solution);
  self.encode(buffer, "MPSMatrixSolveTriangular",
              [s, n = self.order, count = self.count, right = self.right, upper = self.upper,
               transpose = self.transpose, unit = self.unit, alpha = self.alpha] {
                for (std::uint64_t b = 0; b < s.x.batches(); ++b) {
                  const Square a = s.a.read(b);
                  Square x = s.b.read(b);
                  for (double& value : x) value *= alpha;
                  // X op(A) = B is op(A)^T X^T = B^T.
                  const Triangle triangle{a, n, upper, transpose != right, unit};
                  for (std::uint64_t j = 0; j < count; ++j) {
                    triangle.solve(x.data() + (right ? j * n : j), right ? 1 : count);
                  }
                  s.x.write(b, x);
                }
              });
}

void encode_solve_cholesky(SolverState& self, CommandBufferState& buffer, MatrixState& source,
                           MatrixState& right_hand_side, MatrixState& solution) {
  const System s = system_of(self, buffer, source, right_hand_side, solution);
  self.encode(buffer, "MPSMatrixSolveCholesky",
              [s, n = self.order, count = self.count, upper = self.upper] {
                for (std::uint64_t b = 0; b < s.x.batches(); ++b) {
                  const Square a = s.a.read(b);
                  Square x = s.b.read(b);
                  for (std::uint64_t j = 0; j < count; ++j) {
                    // L L^T X = B, or U^T U X = B.
                    Triangle{a, n, upper, upper, false}.solve(x.data() + j, count);
                    Triangle{a, n, upper, !upper, false}.solve(x.data() + j, count);
                  }
                  s.x.write(b, x);
                }
              });
}

void encode_solve_lu(SolverState& self, CommandBufferState& buffer, MatrixState& source,
                     MatrixState& right_hand_side, MatrixState& pivots, MatrixState& solution) {
  check_type("the pivots", pivots.layout.type, {kUInt32});
  const System s = system_of(self, buffer, source, right_hand_side, solution);
  const Region at("pivot indices", pivots, {}, 1, self.order, self.batch(solution));
  refuse_overlap(s.x, at, "the pivots");
  self.encode(buffer, "MPSMatrixSolveLU",
              [s, at, n = self.order, count = self.count, transpose = self.transpose] {
                for (std::uint64_t b = 0; b < s.x.batches(); ++b) {
                  const Square a = s.a.read(b);
                  Square x = s.b.read(b);
                  const auto swap_rows = [&](std::uint64_t i) {
                    const auto other = static_cast<std::uint64_t>(at.get(b, 0, i));
                    if (other >= n) fault("a pivot is beyond the matrix");
                    for (std::uint64_t j = 0; j < count; ++j) {
                      std::swap(x[i * count + j], x[other * count + j]);
                    }
                  };
                  if (!transpose) {
                    for (std::uint64_t i = 0; i < n; ++i) swap_rows(i);
                  }
                  for (std::uint64_t j = 0; j < count; ++j) {
                    // P A = L U: L U X = P B, or U^T L^T (P X) = B.
                    Triangle{a, n, transpose, transpose, !transpose}.solve(x.data() + j, count);
                    Triangle{a, n, !transpose, transpose, transpose}.solve(x.data() + j, count);
                  }
                  if (transpose) {
                    for (std::uint64_t i = n; i-- > 0;) swap_rows(i);
                  }
                  s.x.write(b, x);
                }
              });
}

}  // namespace

void register_solvers() {
  ClassBuilder<"MPSMatrixDecompositionLU">("MPSMatrixDecompositionLU", "MPSMatrixUnaryKernel")
      .method<"initWithDevice:rows:columns:", &init_lu>()
      .method<"encodeToCommandBuffer:sourceMatrix:resultMatrix:pivotIndices:status:", &encode_lu>()
      .done();
  ClassBuilder<"MPSMatrixDecompositionCholesky">("MPSMatrixDecompositionCholesky",
                                                 "MPSMatrixUnaryKernel")
      .method<"initWithDevice:lower:order:", &init_cholesky>()
      .method<"encodeToCommandBuffer:sourceMatrix:resultMatrix:status:", &encode_cholesky>()
      .done();
  ClassBuilder<"MPSMatrixSolveTriangular">("MPSMatrixSolveTriangular", "MPSMatrixBinaryKernel")
      .method<"initWithDevice:right:upper:transpose:unit:order:numberOfRightHandSides:alpha:",
              &init_triangular>()
      .method<"encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:solutionMatrix:",
              &encode_triangular>()
      .done();
  ClassBuilder<"MPSMatrixSolveLU">("MPSMatrixSolveLU", "MPSMatrixBinaryKernel")
      .method<"initWithDevice:transpose:order:numberOfRightHandSides:", &init_solve_lu>()
      .method<"encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:pivotIndices:solutionMatrix:",
              &encode_solve_lu>()
      .done();
  ClassBuilder<"MPSMatrixSolveCholesky">("MPSMatrixSolveCholesky", "MPSMatrixBinaryKernel")
      .method<"initWithDevice:upper:order:numberOfRightHandSides:", &init_solve_cholesky>()
      .method<"encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:solutionMatrix:",
              &encode_solve_cholesky>()
      .done();
}

}  // namespace softmetal::mps

#include "wick/apple/mps/solvers.hpp"

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

namespace {

void check_sizes(const std::string& op, std::uint64_t order, std::uint64_t count) {
  detail::check_positive(op, "the order", order);
  detail::check_positive(op, "the number of right-hand sides", count);
}

objc::MTLBuffer* checked_status(const EncodeChecks& checks, const metal::Buffer* status) {
  if (status == nullptr) return nullptr;
  if (status->length() < sizeof(DecompositionStatus) ||
      status->storage_mode() != metal::StorageMode::kShared) {
    refuse(checks.op(), "the status must be shared memory of at least 4 bytes; it has " +
                            std::to_string(status->length()));
  }
  if (checks.batch().size != 1) {
    refuse(checks.op(),
           "a status is for one matrix; the batch has " + std::to_string(checks.batch().size));
  }
  return status->object().get();
}

void check_floats(const EncodeChecks& checks, std::initializer_list<const Part*> parts) {
  for (const Part* one : parts) {
    checks.type(*one, {DataType::kFloat32});
    checks.inside(*one);
  }
}

void check_pivots(const EncodeChecks& checks, const Part& pivots) {
  checks.type(pivots, {DataType::kUInt32});
  checks.inside(pivots);
}

/// Temporary operands are read once for each matrix, so a batch would read them more than once.
void refuse_temporary_batch(const EncodeChecks& checks, std::initializer_list<const Part*> parts) {
  if (checks.batch().size == 1) return;
  for (const Part* one : parts) {
    if (one->temporary == nullptr) continue;
    refuse(checks.op(), std::string(one->name) + " is temporary: it cannot be read for each of " +
                            std::to_string(checks.batch().size) + " matrices");
  }
}

/// One encode for each matrix of the batch: MPS is known to factor large batches wrongly.
template <class Send>
void for_each_unary(objc::MPSMatrixUnaryKernel* kernel, Batch batch, Send send) {
  const AutoreleaseScope scope;
  messages::set_unary_batch_size(kernel, 1);
  for (std::uint64_t i = 0; i < batch.size; ++i) {
    messages::set_unary_batch_start(kernel, batch.start + i);
    send();
  }
}
template <class Send>
void for_each_binary(objc::MPSMatrixBinaryKernel* kernel, Batch batch, Send send) {
  const AutoreleaseScope scope;
  messages::set_binary_batch_size(kernel, 1);
  for (std::uint64_t i = 0; i < batch.size; ++i) {
    messages::set_binary_batch_start(kernel, batch.start + i);
    send();
  }
}

/// What all solvers check.
void check_system(const EncodeChecks& checks, const Part& a, const Part& b, const Part& x) {
  check_floats(checks, {&a, &b, &x});
  checks.apart(x, a);
  checks.apart(x, b);
  refuse_temporary_batch(checks, {&a, &b, &x});
}

}  // namespace

// ---- factorizations

MatrixDecompositionLU::MatrixDecompositionLU(const metal::Device& device, std::uint64_t rows,
                                             std::uint64_t columns)
    : rows_(rows), columns_(columns) {
  const std::string op = "mps.matrix_decomposition_lu";
  detail::check_positive(op, "the number of rows", rows);
  detail::check_positive(op, "the number of columns", columns);
  kernel_ = make_kernel<objc::MPSMatrixDecompositionLU>(messages::init_lu, device.object().get(),
                                                        rows, columns);
}

void MatrixDecompositionLU::encode(metal::CommandBuffer& buffer, const Matrix& source,
                                   const Matrix& result, const Matrix& pivots,
                                   const metal::Buffer* status, Batch batch) const {
  const EncodeChecks checks("mps.matrix_decomposition_lu", buffer, batch, result.layout().matrices);
  const Part from = part("the source", source, {}, rows_, columns_);
  const Part to = part("the result", result, {}, rows_, columns_);
  const Part at = part("the pivots", pivots, {}, 1, std::min(rows_, columns_));
  check_floats(checks, {&from, &to});
  check_pivots(checks, at);
  checks.apart_or_same(to, from);
  checks.apart(at, from);
  checks.apart(at, to);
  refuse_temporary_batch(checks, {&from, &to, &at});
  objc::MTLBuffer* const says = checked_status(checks, status);
  auto* const kernel = kernel_as<objc::MPSMatrixDecompositionLU>(kernel_);
  for_each_unary(kernel, checks.batch(), [&] {
    messages::encode_lu(kernel, buffer.object().get(), source.object().get(), result.object().get(),
                        pivots.object().get(), says);
  });
}

MatrixDecompositionCholesky::MatrixDecompositionCholesky(const metal::Device& device, bool lower,
                                                         std::uint64_t order)
    : order_(order) {
  detail::check_positive("mps.matrix_decomposition_cholesky", "the order", order);
  kernel_ = make_kernel<objc::MPSMatrixDecompositionCholesky>(messages::init_cholesky,
                                                              device.object().get(), lower, order);
}

void MatrixDecompositionCholesky::encode(metal::CommandBuffer& buffer, const Matrix& source,
                                         const Matrix& result, const metal::Buffer* status,
                                         Batch batch) const {
  const EncodeChecks checks("mps.matrix_decomposition_cholesky", buffer, batch,
                            result.layout().matrices);
  const Part from = part("the source", source, {}, order_, order_);
  const Part to = part("the result", result, {}, order_, order_);
  check_floats(checks, {&from, &to});
  checks.apart_or_same(to, from);
  refuse_temporary_batch(checks, {&from, &to});
  objc::MTLBuffer* const says = checked_status(checks, status);
  auto* const kernel = kernel_as<objc::MPSMatrixDecompositionCholesky>(kernel_);
  for_each_unary(kernel, checks.batch(), [&] {
    messages::encode_cholesky(kernel, buffer.object().get(), source.object().get(),
                              result.object().get(), says);
  });
}

// ---- solvers

MatrixSolveTriangular::MatrixSolveTriangular(const metal::Device& device, std::uint64_t order,
                                             std::uint64_t count, const TriangularOptions& options)
    : order_(order), count_(count), right_(options.right) {
  const std::string op = "mps.matrix_solve_triangular";
  check_sizes(op, order, count);
  detail::check_factor(op, "alpha", options.alpha, DataType::kFloat32);
  kernel_ = make_kernel<objc::MPSMatrixSolveTriangular>(
      messages::init_triangular, device.object().get(), options.right, options.upper,
      options.transpose, options.unit, order, count, options.alpha);
}

void MatrixSolveTriangular::encode(metal::CommandBuffer& buffer, const Matrix& source,
                                   const Matrix& right_hand_side, const Matrix& solution,
                                   Batch batch) const {
  const EncodeChecks checks("mps.matrix_solve_triangular", buffer, batch,
                            solution.layout().matrices);
  const std::uint64_t rows = right_ ? count_ : order_, columns = right_ ? order_ : count_;
  check_system(checks, part("the source", source, {}, order_, order_),
               part("the right-hand side", right_hand_side, {}, rows, columns),
               part("the solution", solution, {}, rows, columns));
  auto* const kernel = kernel_as<objc::MPSMatrixSolveTriangular>(kernel_);
  for_each_binary(kernel, checks.batch(), [&] {
    messages::encode_triangular(kernel, buffer.object().get(), source.object().get(),
                                right_hand_side.object().get(), solution.object().get());
  });
}

MatrixSolveLU::MatrixSolveLU(const metal::Device& device, std::uint64_t order, std::uint64_t count,
                             bool transpose)
    : order_(order), count_(count) {
  check_sizes("mps.matrix_solve_lu", order, count);
  kernel_ = make_kernel<objc::MPSMatrixSolveLU>(messages::init_solve_lu, device.object().get(),
                                                transpose, order, count);
}

void MatrixSolveLU::encode(metal::CommandBuffer& buffer, const Matrix& factors,
                           const Matrix& right_hand_side, const Matrix& pivots,
                           const Matrix& solution, Batch batch) const {
  const EncodeChecks checks("mps.matrix_solve_lu", buffer, batch, solution.layout().matrices);
  const Part at = part("the pivots", pivots, {}, 1, order_);
  check_pivots(checks, at);
  const Part x = part("the solution", solution, {}, order_, count_);
  check_system(checks, part("the factors", factors, {}, order_, order_),
               part("the right-hand side", right_hand_side, {}, order_, count_), x);
  checks.apart(x, at);
  auto* const kernel = kernel_as<objc::MPSMatrixSolveLU>(kernel_);
  for_each_binary(kernel, checks.batch(), [&] {
    messages::encode_solve_lu(kernel, buffer.object().get(), factors.object().get(),
                              right_hand_side.object().get(), pivots.object().get(),
                              solution.object().get());
  });
}

MatrixSolveCholesky::MatrixSolveCholesky(const metal::Device& device, bool upper,
                                         std::uint64_t order, std::uint64_t count)
    : order_(order), count_(count) {
  check_sizes("mps.matrix_solve_cholesky", order, count);
  kernel_ = make_kernel<objc::MPSMatrixSolveCholesky>(messages::init_solve_cholesky,
                                                      device.object().get(), upper, order, count);
}

void MatrixSolveCholesky::encode(metal::CommandBuffer& buffer, const Matrix& factor,
                                 const Matrix& right_hand_side, const Matrix& solution,
                                 Batch batch) const {
  const EncodeChecks checks("mps.matrix_solve_cholesky", buffer, batch, solution.layout().matrices);
  check_system(checks, part("the factor", factor, {}, order_, order_),
               part("the right-hand side", right_hand_side, {}, order_, count_),
               part("the solution", solution, {}, order_, count_));
  auto* const kernel = kernel_as<objc::MPSMatrixSolveCholesky>(kernel_);
  for_each_binary(kernel, checks.batch(), [&] {
    messages::encode_solve_cholesky(kernel, buffer.object().get(), factor.object().get(),
                                    right_hand_side.object().get(), solution.object().get());
  });
}

}  // namespace wick::apple::mps

#include "apple/mps/checks.hpp"

#include <algorithm>
#include <cmath>

namespace wick::apple::mps::detail {
namespace {

constexpr double kLargestHalf = 65504;

/// A vector as a matrix of one row.
MatrixLayout as_matrix(const VectorLayout& layout) {
  return {.rows = 1,
          .columns = layout.length,
          .type = layout.type,
          .row_bytes = layout.vector_bytes,
          .matrices = layout.vectors,
          .matrix_bytes = layout.vector_bytes};
}

std::string size_text(std::uint64_t rows, std::uint64_t columns) {
  return std::to_string(rows) + "x" + std::to_string(columns);
}

/// Where row k of all rows of the part's batch begins.
std::uint64_t row_start(const Part& part, Batch batch, std::uint64_t k) {
  const MatrixLayout& l = part.layout;
  return part.offset + (batch.start + k / part.rows) * l.matrix_bytes +
         (part.origin.row + k % part.rows) * l.row_bytes +
         part.origin.column * element_bytes(l.type);
}

bool same_elements(const Part& a, const Part& b, Batch batch) {
  return a.buffer == b.buffer && a.rows == b.rows && a.columns == b.columns &&
         a.layout.type == b.layout.type && row_start(a, batch, 0) == row_start(b, batch, 0) &&
         a.layout.row_bytes == b.layout.row_bytes &&
         (batch.size == 1 || a.layout.matrix_bytes == b.layout.matrix_bytes);
}

}  // namespace

Part part(std::string_view name, const Matrix& matrix, Origin origin, std::uint64_t rows,
          std::uint64_t columns) {
  Object* const buffer = matrix.buffer() ? matrix.buffer()->object().get() : nullptr;
  return {.name = name,
          .layout = matrix.layout(),
          .buffer = buffer,
          .offset = matrix.offset(),
          .origin = origin,
          .rows = rows,
          .columns = columns,
          .temporary = matrix.temporary().get()};
}

Part part(std::string_view name, const Vector& vector, std::uint64_t start, std::uint64_t length) {
  return {.name = name,
          .layout = as_matrix(vector.layout()),
          .buffer = vector.buffer().object().get(),
          .offset = vector.offset(),
          .origin = {0, start},
          .rows = 1,
          .columns = length};
}

std::uint64_t extent(std::uint64_t wanted, std::uint64_t available, std::uint64_t origin) {
  return wanted == kAll ? available - std::min(available, origin) : wanted;
}

EncodeChecks::EncodeChecks(std::string_view op, const metal::CommandBuffer& buffer, Batch batch,
                           std::uint64_t result_matrices)
    : op_(op), buffer_(buffer), batch_(batch) {
  buffer.check_encodable(op);
  if (batch.size == 0) refuse(op, "the batch must not be empty");
  if (batch.start >= result_matrices) {
    refuse(op, "the batch begins at matrix " + std::to_string(batch.start) +
                   ", but the result has " + std::to_string(result_matrices));
  }
  if (batch.size == kAll) batch_.size = result_matrices - batch.start;
}

void EncodeChecks::inside(const Part& part) const {
  const MatrixLayout& l = part.layout;
  const bool rows_fit = part.origin.row <= l.rows && part.rows <= l.rows - part.origin.row;
  const bool columns_fit =
      part.origin.column <= l.columns && part.columns <= l.columns - part.origin.column;
  if (part.rows == 0 || part.columns == 0 || !rows_fit || !columns_fit) {
    refuse(op_, std::string(part.name) + " is " + size_text(l.rows, l.columns) +
                    "; the kernel needs " + size_text(part.rows, part.columns) +
                    " of it from row " + std::to_string(part.origin.row) + " and column " +
                    std::to_string(part.origin.column) + " on");
  }
  if (batch_.start > l.matrices || batch_.size > l.matrices - batch_.start) {
    refuse(op_, std::string(part.name) + " has " + std::to_string(l.matrices) +
                    " matrices; the batch needs " + std::to_string(batch_.size) + " from " +
                    std::to_string(batch_.start) + " on");
  }
  if (part.temporary == nullptr) return;
  if (part.temporary->owner.get() != buffer_.object().get()) {
    refuse(op_, std::string(part.name) + " is temporary and belongs to another command buffer");
  }
  if (messages::read_count(part.temporary->object.get()) == 0) {
    refuse(op_, std::string(part.name) +
                    " is temporary and was read as often as was said: its memory is another's");
  }
}

bool EncodeChecks::overlap(const Part& a, const Part& b) const {
  if (a.temporary != b.temporary || a.buffer != b.buffer) return false;
  const std::uint64_t a_bytes = a.columns * element_bytes(a.layout.type);
  const std::uint64_t b_bytes = b.columns * element_bytes(b.layout.type);
  const std::uint64_t a_rows = a.rows * batch_.size;
  const std::uint64_t b_rows = b.rows * batch_.size;
  if (row_start(a, batch_, a_rows - 1) + a_bytes <= row_start(b, batch_, 0)) return false;
  if (row_start(b, batch_, b_rows - 1) + b_bytes <= row_start(a, batch_, 0)) return false;
  // Columns of one buffer may lie beside each other: walk through the rows of both in their order.
  for (std::uint64_t i = 0, k = 0; i < a_rows && k < b_rows;) {
    const std::uint64_t a_start = row_start(a, batch_, i), b_start = row_start(b, batch_, k);
    if (a_start + a_bytes <= b_start) {
      ++i;
    } else if (b_start + b_bytes <= a_start) {
      ++k;
    } else {
      return true;
    }
  }
  return false;
}

void EncodeChecks::apart(const Part& result, const Part& source) const {
  if (!overlap(result, source)) return;
  refuse(op_, std::string(result.name) + " and " + std::string(source.name) +
                  " must not overlap; they begin at bytes " +
                  std::to_string(row_start(result, batch_, 0)) + " and " +
                  std::to_string(row_start(source, batch_, 0)) + " of one buffer");
}

void EncodeChecks::apart_or_same(const Part& result, const Part& source) const {
  if (!same_elements(result, source, batch_)) apart(result, source);
}

void EncodeChecks::type(const Part& part, std::initializer_list<DataType> allowed) const {
  const DataType type = part.layout.type;
  if (std::find(allowed.begin(), allowed.end(), type) != allowed.end()) return;
  std::string names;
  for (const DataType one : allowed) {
    names += (names.empty() ? "" : " or ") + std::string(to_string(one));
  }
  refuse(op_,
         std::string(part.name) + " must be " + names + "; it is " + std::string(to_string(type)));
}

void EncodeChecks::same_type(const Part& a, const Part& b) const {
  if (a.layout.type == b.layout.type) return;
  refuse(op_, std::string(a.name) + " and " + std::string(b.name) +
                  " must have one type; they are " + std::string(to_string(a.layout.type)) +
                  " and " + std::string(to_string(b.layout.type)));
}

void check_finite(const std::string& op, std::string_view name, double value) {
  if (!std::isfinite(value)) {
    refuse(op, std::string(name) + " must be finite; got " + std::to_string(value));
  }
}

void check_factor(const std::string& op, std::string_view name, double value, DataType type) {
  const double most = type == DataType::kFloat16 ? kLargestHalf : std::numeric_limits<float>::max();
  if (!(std::abs(value) <= most)) {
    refuse(op, std::string(name) + " must be a number that " + std::string(to_string(type)) +
                   " holds; got " + std::to_string(value));
  }
}

void check_positive(const std::string& op, std::string_view name, std::uint64_t value) {
  if (value == 0) refuse(op, std::string(name) + " must be at least 1; got 0");
}

}  // namespace wick::apple::mps::detail

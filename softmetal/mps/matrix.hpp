#pragma once

#include <vector>

#include "apple/objc/structs.hpp"
#include "softmetal/metal/device.hpp"
#include "softmetal/metal/gpu.hpp"
#include "softmetal/mps/element.hpp"

// MPSMatrix, MPSVector and their descriptors, and the parts of them that kernels work on.

namespace softmetal::mps {

using wick::apple::objc::MTLOrigin;

/// What a descriptor says; a vector is a matrix of one row, and its vectors are matrices.
struct Layout {
  std::uint64_t rows = 1;
  std::uint64_t columns = 1;
  std::uint64_t matrices = 1;
  std::uint64_t row_bytes = 0;
  std::uint64_t matrix_bytes = 0;
  Type type = kFloat32;

  /// A fault unless the strides are multiples of what they step over and hold it.
  void check() const;
  /// Bytes from the first element to the end of the last one.
  std::uint64_t bytes() const;
};

class MatrixDescriptorState final : public State {
 public:
  explicit MatrixDescriptorState(Layout values) : layout(values) {}
  Layout layout;
};

class VectorDescriptorState final : public State {
 public:
  explicit VectorDescriptorState(Layout values) : layout(values) {}
  Layout layout;
};

/// A matrix or a vector on a buffer.
class DataState : public State {
 public:
  /// A fault when the buffer does not hold the layout from the offset on.
  DataState(BufferState& of, std::uint64_t at, const Layout& how);
  Hold<BufferState> buffer;
  const std::uint64_t offset;
  const Layout layout;

  /// A kernel that is being encoded to this command buffer reads it, or writes it.
  virtual void note_read(CommandBufferState&) {}
  virtual void note_write(CommandBufferState&) {}
};

class MatrixState : public DataState {
 public:
  using DataState::DataState;
};

class VectorState final : public DataState {
 public:
  using DataState::DataState;
};

/// Storage that lives until it was read as often as its read count says.
class TemporaryMatrixState final : public MatrixState {
 public:
  TemporaryMatrixState(CommandBufferState& of, BufferState& memory, const Layout& how);
  ~TemporaryMatrixState() override;
  std::uint64_t read_count() const { return read_count_; }
  void set_read_count(std::uint64_t count);
  void note_read(CommandBufferState& by) override;
  void note_write(CommandBufferState& by) override;

 private:
  void check_use(const CommandBufferState& by) const;
  std::uint64_t heap_;  // of the command buffer, which holds this until it is committed
  std::uint64_t read_count_ = 1;
};

/// A range of the matrices of a batch.
struct Batch {
  std::uint64_t start = 0;
  std::uint64_t count = 1;
};

/// A part of a matrix, as the work of a kernel holds it.
class Region {
 public:
  /// A fault when [origin, origin + rows x columns) is not inside of every matrix of the batch.
  Region(const std::string& name, DataState& data, MTLOrigin origin, std::uint64_t rows,
         std::uint64_t columns, Batch batch);
  std::uint64_t rows() const { return rows_; }
  std::uint64_t columns() const { return columns_; }
  std::uint64_t batches() const { return batch_.count; }
  Type type() const { return layout_.type; }
  double get(std::uint64_t batch, std::uint64_t row, std::uint64_t column) const {
    return load(at(batch, row, column), layout_.type);
  }
  void set(std::uint64_t batch, std::uint64_t row, std::uint64_t column, double value) const {
    store(at(batch, row, column), layout_.type, value);
  }
  /// All elements of one matrix, row by row.
  std::vector<double> read(std::uint64_t batch) const;
  void write(std::uint64_t batch, const std::vector<double>& values) const;
  /// Whether the two have a byte in common.
  bool overlaps(const Region& other) const;
  /// Whether the two are the same bytes.
  bool is(const Region& other) const;

 private:
  std::byte* at(std::uint64_t batch, std::uint64_t row, std::uint64_t column) const {
    return first_ + batch * layout_.matrix_bytes + row * layout_.row_bytes + column * element_;
  }
  Hold<BufferState> buffer_;
  Layout layout_;
  std::uint64_t rows_, columns_;
  Batch batch_;
  std::uint64_t element_;
  std::byte* first_;
};

/// A fault, naming the two, when they have a byte in common.
void refuse_overlap(const Region& result, const Region& source, const char* name);
/// A fault unless the type is among these.
void check_type(const char* name, Type type, std::initializer_list<Type> allowed);

void register_data();

}  // namespace softmetal::mps

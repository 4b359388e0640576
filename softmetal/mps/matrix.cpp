#include "softmetal/mps/matrix.hpp"

#include <algorithm>
#include <cstdlib>

#include "softmetal/metal/statistics.hpp"
#include "softmetal/objc/class_builder.hpp"
#include "softmetal/objc/foundation.hpp"

namespace softmetal::mps {

void Layout::check() const {
  const std::uint64_t element = element_bytes(type);
  if (rows == 0 || columns == 0 || matrices == 0) fault("rows, columns and matrices may not be 0");
  if (row_bytes % element != 0) fault("rowBytes must be a multiple of the element size");
  if (row_bytes < columns * element) fault("not enough rowBytes for all the columns.");
  if (matrices > 1 && (matrix_bytes % row_bytes != 0 || matrix_bytes < rows * row_bytes)) {
    fault("matrixBytes must be a multiple of rowBytes that holds all the rows");
  }
}

std::uint64_t Layout::bytes() const {
  return (matrices - 1) * matrix_bytes + (rows - 1) * row_bytes + columns * element_bytes(type);
}

DataState::DataState(BufferState& of, std::uint64_t at, const Layout& how)
    : buffer(&of), offset(at), layout(how) {
  layout.check();
  if (at % element_bytes(how.type) != 0) fault("the offset must be a multiple of the element size");
  of.check_range("the descriptor", at, layout.bytes());
}

// ---- temporaries

TemporaryMatrixState::TemporaryMatrixState(CommandBufferState& of, BufferState& memory,
                                           const Layout& how)
    : MatrixState(memory, 0, how), heap_(of.heap()) {}

TemporaryMatrixState::~TemporaryMatrixState() {
  if (read_count_ != 0) {
    fault_late("a temporary matrix is released with a readCount of " + std::to_string(read_count_));
  }
}

void TemporaryMatrixState::set_read_count(std::uint64_t count) {
  if (read_count_ == 0 && count != 0) fault("the readCount was 0: its storage is another's now");
  read_count_ = count;
}

void TemporaryMatrixState::check_use(const CommandBufferState& by) const {
  if (read_count_ == 0) fault("a temporary matrix is used after its readCount was 0");
  if (by.heap() != heap_) fault("a temporary matrix is used on another command buffer");
}
void TemporaryMatrixState::note_write(CommandBufferState& by) { check_use(by); }
void TemporaryMatrixState::note_read(CommandBufferState& by) {
  check_use(by);
  --read_count_;
}

// ---- regions

Region::Region(const std::string& name, DataState& data, MTLOrigin origin, std::uint64_t rows,
               std::uint64_t columns, Batch batch)
    : buffer_(data.buffer),
      layout_(data.layout),
      rows_(rows),
      columns_(columns),
      batch_(batch),
      element_(element_bytes(layout_.type)) {
  if (origin.z != 0) fault("origin.z must be 0");
  if (rows == 0 || columns == 0) fault("no rows or no columns of " + name);
  if (origin.x > layout_.rows || rows > layout_.rows - origin.x) {
    fault("Number of requested rows in " + name + " exceeds " + name + " size.");
  }
  if (origin.y > layout_.columns || columns > layout_.columns - origin.y) {
    fault("Number of requested columns in " + name + " exceeds " + name + " size.");
  }
  if (batch.start > layout_.matrices || batch.count > layout_.matrices - batch.start) {
    fault("the batch is beyond the " + std::to_string(layout_.matrices) + " matrices of " + name);
  }
  first_ = buffer_->bytes() + data.offset + batch.start * layout_.matrix_bytes +
           origin.x * layout_.row_bytes + origin.y * element_;
}

std::vector<double> Region::read(std::uint64_t batch) const {
  std::vector<double> values;
  values.reserve(rows_ * columns_);
  for (std::uint64_t i = 0; i < rows_; ++i) {
    for (std::uint64_t j = 0; j < columns_; ++j) values.push_back(get(batch, i, j));
  }
  return values;
}

void Region::write(std::uint64_t batch, const std::vector<double>& values) const {
  for (std::uint64_t i = 0; i < rows_; ++i) {
    for (std::uint64_t j = 0; j < columns_; ++j) set(batch, i, j, values[i * columns_ + j]);
  }
}

bool Region::overlaps(const Region& other) const {
  if (buffer_.get() != other.buffer_.get()) return false;
  // The rows of both are sorted by address: walk through them side by side.
  std::uint64_t mine = 0, theirs = 0;
  const auto row = [](const Region& r, std::uint64_t k) {
    return r.at(k / r.rows_, k % r.rows_, 0);
  };
  while (mine < rows_ * batch_.count && theirs < other.rows_ * other.batch_.count) {
    const std::byte* const a = row(*this, mine);
    const std::byte* const b = row(other, theirs);
    if (a + columns_ * element_ <= b) {
      ++mine;
    } else if (b + other.columns_ * other.element_ <= a) {
      ++theirs;
    } else {
      return true;
    }
  }
  return false;
}

bool Region::is(const Region& other) const {
  return first_ == other.first_ && rows_ == other.rows_ && columns_ == other.columns_ &&
         layout_.type == other.layout_.type && layout_.row_bytes == other.layout_.row_bytes &&
         batch_.count == other.batch_.count &&
         (batch_.count == 1 || layout_.matrix_bytes == other.layout_.matrix_bytes);
}

void refuse_overlap(const Region& result, const Region& source, const char* name) {
  if (result.overlaps(source)) fault("the result overlaps " + std::string(name));
}

void check_type(const char* name, Type type, std::initializer_list<Type> allowed) {
  if (std::find(allowed.begin(), allowed.end(), type) == allowed.end()) {
    fault(type_name(type) + " is no type of " + name);
  }
}

// ---- the classes

namespace {

constexpr std::uint64_t kRowUnit = 16;  // what recommended strides are rounded up to
std::uint64_t recommended(std::uint64_t columns, Type type) {
  return (columns * element_bytes(type) + kRowUnit - 1) / kRowUnit * kRowUnit;
}

Class* matrix_descriptor_class = nullptr;
Class* vector_descriptor_class = nullptr;
Class* temporary_class = nullptr;

// ---- MPSMatrixDescriptor
Object* describe(const Layout& layout) {
  return make_autoreleased<MatrixDescriptorState>(matrix_descriptor_class, layout);
}
Object* describe_matrix(Object*, std::uint64_t rows, std::uint64_t columns, std::uint64_t row_bytes,
                        Type type) {
  return describe({.rows = rows,
                   .columns = columns,
                   .row_bytes = row_bytes,
                   .matrix_bytes = rows * row_bytes,
                   .type = type});
}
Object* describe_matrices(Object*, std::uint64_t rows, std::uint64_t columns,
                          std::uint64_t matrices, std::uint64_t row_bytes,
                          std::uint64_t matrix_bytes, Type type) {
  return describe({rows, columns, matrices, row_bytes, matrix_bytes, type});
}
std::uint64_t row_bytes_for(Object*, std::uint64_t columns, Type type) {
  return recommended(columns, type);
}

template <class S, auto Member>
auto get(S& self) {
  return self.layout.*Member;
}

// ---- MPSVectorDescriptor
Object* describe_vectors(Object*, std::uint64_t length, std::uint64_t vectors,
                         std::uint64_t vector_bytes, Type type) {
  return make_autoreleased<VectorDescriptorState>(vector_descriptor_class,
                                                  Layout{.columns = length,
                                                         .matrices = vectors,
                                                         .row_bytes = vector_bytes,
                                                         .matrix_bytes = vector_bytes,
                                                         .type = type});
}
Object* describe_vector(Object* self, std::uint64_t length, Type type) {
  return describe_vectors(self, length, 1, length * element_bytes(type), type);
}

// ---- MPSMatrix and MPSVector
Object* init_matrix_at(Object* self, BufferState& buffer, std::uint64_t offset,
                       MatrixDescriptorState& descriptor) {
  return initialise<MatrixState>(self, buffer, offset, descriptor.layout);
}
Object* init_matrix(Object* self, BufferState& buffer, MatrixDescriptorState& descriptor) {
  return init_matrix_at(self, buffer, 0, descriptor);
}
Object* init_vector_at(Object* self, BufferState& buffer, std::uint64_t offset,
                       VectorDescriptorState& descriptor) {
  return initialise<VectorState>(self, buffer, offset, descriptor.layout);
}
Object* init_vector(Object* self, BufferState& buffer, VectorDescriptorState& descriptor) {
  return init_vector_at(self, buffer, 0, descriptor);
}
template <class S>
Object* device_of(S& self) {
  return self.buffer->device.object();
}
template <class S>
Object* data_of(S& self) {
  return self.buffer.object();
}
template <class S>
std::uint64_t offset_of(S& self) {
  return self.offset;
}

// ---- MPSTemporaryMatrix
Object* make_temporary(Object*, CommandBufferState& buffer, MatrixDescriptorState& descriptor) {
  buffer.check_encodable();
  descriptor.layout.check();
  Object* const memory = new_private_buffer(*buffer.queue->device, descriptor.layout.bytes());
  if (memory == nullptr) return nullptr;
  Object* const made =
      make_instance(temporary_class, std::make_unique<TemporaryMatrixState>(
                                         buffer, state<BufferState>(memory), descriptor.layout));
  release(memory);
  buffer.keep_until_commit(made);
  return made;
}
std::uint64_t read_count(TemporaryMatrixState& self) { return self.read_count(); }
void set_read_count(TemporaryMatrixState& self, std::uint64_t count) { self.set_read_count(count); }

void register_matrices() {
  using D = MatrixDescriptorState;
  matrix_descriptor_class =
      ClassBuilder<"MPSMatrixDescriptor">("MPSMatrixDescriptor", "NSObject")
          .class_method<"matrixDescriptorWithRows:columns:rowBytes:dataType:", &describe_matrix>()
          .class_method<"matrixDescriptorWithRows:columns:matrices:rowBytes:matrixBytes:dataType:",
                        &describe_matrices>()
          .class_method<"rowBytesForColumns:dataType:", &row_bytes_for>()
          .method<"rows", &get<D, &Layout::rows>>()
          .method<"columns", &get<D, &Layout::columns>>()
          .method<"matrices", &get<D, &Layout::matrices>>()
          .method<"rowBytes", &get<D, &Layout::row_bytes>>()
          .method<"matrixBytes", &get<D, &Layout::matrix_bytes>>()
          .method<"dataType", &get<D, &Layout::type>>()
          .done();
  using M = MatrixState;
  ClassBuilder<"MPSMatrix">("MPSMatrix", "NSObject")
      .method<"initWithBuffer:descriptor:", &init_matrix>()
      .method<"initWithBuffer:offset:descriptor:", &init_matrix_at>()
      .method<"device", &device_of<M>>()
      .method<"data", &data_of<M>>()
      .method<"offset", &offset_of<M>>()
      .method<"rows", &get<M, &Layout::rows>>()
      .method<"columns", &get<M, &Layout::columns>>()
      .method<"matrices", &get<M, &Layout::matrices>>()
      .method<"rowBytes", &get<M, &Layout::row_bytes>>()
      .method<"matrixBytes", &get<M, &Layout::matrix_bytes>>()
      .method<"dataType", &get<M, &Layout::type>>()
      .done();
  temporary_class =
      ClassBuilder<"MPSTemporaryMatrix">("MPSTemporaryMatrix", "MPSMatrix")
          .class_method<"temporaryMatrixWithCommandBuffer:matrixDescriptor:", &make_temporary>()
          .method<"readCount", &read_count>()
          .method<"setReadCount:", &set_read_count>()
          .done();
}

void register_vectors() {
  using D = VectorDescriptorState;
  vector_descriptor_class =
      ClassBuilder<"MPSVectorDescriptor">("MPSVectorDescriptor", "NSObject")
          .class_method<"vectorDescriptorWithLength:dataType:", &describe_vector>()
          .class_method<"vectorDescriptorWithLength:vectors:vectorBytes:dataType:",
                        &describe_vectors>()
          .class_method<"vectorBytesForLength:dataType:", &row_bytes_for>()
          .method<"length", &get<D, &Layout::columns>>()
          .method<"vectors", &get<D, &Layout::matrices>>()
          .method<"vectorBytes", &get<D, &Layout::matrix_bytes>>()
          .method<"dataType", &get<D, &Layout::type>>()
          .done();
  using V = VectorState;
  ClassBuilder<"MPSVector">("MPSVector", "NSObject")
      .method<"initWithBuffer:descriptor:", &init_vector>()
      .method<"initWithBuffer:offset:descriptor:", &init_vector_at>()
      .method<"device", &device_of<V>>()
      .method<"data", &data_of<V>>()
      .method<"offset", &offset_of<V>>()
      .method<"length", &get<V, &Layout::columns>>()
      .method<"vectors", &get<V, &Layout::matrices>>()
      .method<"vectorBytes", &get<V, &Layout::matrix_bytes>>()
      .method<"dataType", &get<V, &Layout::type>>()
      .done();
}

}  // namespace

void register_data() {
  register_matrices();
  register_vectors();
}

}  // namespace softmetal::mps

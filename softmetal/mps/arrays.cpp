#include <algorithm>
#include <cstring>
#include <numeric>

#include "softmetal/mps/kernel.hpp"

// MPSNDArrayDescriptor, MPSNDArray and MPSNDArrayMatrixMultiplication. Dimension 0 is the one that runs fastest.

namespace softmetal::mps {
namespace {

using wick::apple::objc::MPSDimensionSlice;

constexpr std::uint64_t kRowUnit = 16;
constexpr std::uint64_t kMostDimensions = 16;

/// One dimension as a descriptor sees it.
struct Dimension {
  std::uint64_t of;  // the dimension of the array that a view is made of
  std::uint64_t start = 0, length = 1;
};

class ArrayDescriptorState final : public State {
 public:
  Type type = kFloat32;
  std::vector<Dimension> dimensions;
  bool packed_rows = false;
  bool was_transposed = false;

  Dimension& at(std::uint64_t dimension) {
    if (dimension >= dimensions.size()) {
      fault("dimension " + std::to_string(dimension) + " is beyond " +
            std::to_string(dimensions.size()));
    }
    return dimensions[dimension];
  }
};
using D = ArrayDescriptorState;

Class* descriptor_class = nullptr;
Class* array_class = nullptr;

std::unique_ptr<D> describe(Type type, const std::vector<std::uint64_t>& lengths) {
  element_bytes(type);
  if (lengths.empty() || lengths.size() > kMostDimensions) fault("an array has 1 to 16 dimensions");
  auto made = std::make_unique<D>();
  made->type = type;
  std::uint64_t elements = 1;
  for (const std::uint64_t length : lengths) {
    if (length == 0) fault("a dimension of length 0");
    if (length > (std::uint64_t{1} << 31) / elements) fault("product of dimension sizes > 2**31");
    elements *= length;
    made->dimensions.push_back({made->dimensions.size(), 0, length});
  }
  return made;
}

Object* describe_sizes(Object*, Type type, std::uint64_t count, std::uint64_t* sizes) {
  if (sizes == nullptr) fault("dimensionSizes may not be NULL");
  return autorelease(make_instance(
      descriptor_class, describe(type, std::vector<std::uint64_t>(sizes, sizes + count))));
}
std::uint64_t dimension_count(D& self) { return self.dimensions.size(); }
std::uint64_t length_of(D& self, std::uint64_t dimension) { return self.at(dimension).length; }
void slice(D& self, std::uint64_t dimension, MPSDimensionSlice range) {
  if (self.was_transposed) fault("a slice after a transposition of the same descriptor");
  Dimension& sliced = self.at(dimension);
  if (range.start >= sliced.length) {
    fault("subRange.start " + std::to_string(range.start) +
          " is not less than length of dimension " + std::to_string(sliced.length));
  }
  if (range.length == 0 || range.length > sliced.length - range.start) {
    fault("the slice is beyond the dimension");
  }
  sliced.start += range.start;
  sliced.length = range.length;
}
void transpose(D& self, std::uint64_t one, std::uint64_t other) {
  std::swap(self.at(one), self.at(other));
  self.was_transposed = true;
}

// ---- MPSNDArray

class ArrayState final : public State {
 public:
  Hold<BufferState> buffer;
  Hold<ArrayState> parent;  // of a view
  std::uint64_t offset = 0;
  Type type = kFloat32;
  std::vector<std::uint64_t> lengths, strides;  // in bytes
  std::string label;

  std::uint64_t elements() const {
    return std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{1}, std::multiplies<>());
  }
  std::uint64_t dense_bytes() const { return elements() * element_bytes(type); }
  std::uint64_t end() const {
    std::uint64_t last = offset + element_bytes(type);
    for (std::size_t i = 0; i < lengths.size(); ++i) last += (lengths[i] - 1) * strides[i];
    return last;
  }
  /// Where element `n` of all is, the fastest dimension first.
  std::byte* at(std::uint64_t n) const {
    std::byte* place = buffer->bytes() + offset;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      place += n % lengths[i] * strides[i];
      n /= lengths[i];
    }
    return place;
  }
};
using A = ArrayState;

std::unique_ptr<A> lay_out(const D& how, BufferState& buffer, std::uint64_t offset) {
  auto made = std::make_unique<A>();
  made->buffer = Hold(&buffer);
  made->offset = offset;
  made->type = how.type;
  std::uint64_t stride = element_bytes(how.type);
  for (const Dimension& dimension : how.dimensions) {
    made->lengths.push_back(dimension.length);
    made->strides.push_back(stride);
    stride *= dimension.length;
    if (made->strides.size() == 1 && !how.packed_rows) {
      stride = (stride + kRowUnit - 1) / kRowUnit * kRowUnit;
    }
  }
  return made;
}

std::uint64_t bytes_for(const D& how) {
  std::uint64_t bytes = how.dimensions[0].length * element_bytes(how.type);
  if (!how.packed_rows) bytes = (bytes + kRowUnit - 1) / kRowUnit * kRowUnit;
  for (std::size_t i = 1; i < how.dimensions.size(); ++i) bytes *= how.dimensions[i].length;
  return bytes;
}

void check_whole(const D& descriptor) {
  for (std::size_t i = 0; i < descriptor.dimensions.size(); ++i) {
    const Dimension& one = descriptor.dimensions[i];
    if (one.of != i || one.start != 0) fault("an array of a descriptor of a view");
  }
}

Object* init_array(Object* self, DeviceState& device, D& descriptor) {
  check_whole(descriptor);
  Object* const memory = new_private_buffer(device, bytes_for(descriptor));
  if (memory == nullptr) {
    release(self);
    return nullptr;
  }
  attach_state(self, lay_out(descriptor, state<BufferState>(memory), 0));
  release(memory);
  return self;
}
Object* init_on_buffer(Object* self, BufferState& buffer, std::uint64_t offset, D& descriptor) {
  check_whole(descriptor);
  if (offset % element_bytes(descriptor.type) != 0) {
    fault("the offset must be a multiple of the element size");
  }
  buffer.check_range("buffer is not large enough: the array", offset, bytes_for(descriptor));
  attach_state(self, lay_out(descriptor, buffer, offset));
  return self;
}

Type array_type(A& self) { return self.type; }
std::uint64_t array_type_bytes(A& self) { return element_bytes(self.type); }
std::uint64_t array_rank(A& self) { return self.lengths.size(); }
std::uint64_t array_length(A& self, std::uint64_t dimension) {
  if (dimension >= self.lengths.size()) fault("the array has no such dimension");
  return self.lengths[dimension];
}
Object* array_parent(A& self) { return self.parent.object(); }
Object* array_describe(A& self) {
  return autorelease(make_instance(descriptor_class, describe(self.type, self.lengths)));
}

Object* array_view(A& self, CommandBufferState& buffer, D& shown, std::uint64_t aliasing) {
  constexpr std::uint64_t kShallAlias = 1;
  buffer.check_encodable();
  if (aliasing != kShallAlias) fault("only views that shall alias are known");
  if (shown.type != self.type) fault("a view of another type");
  if (shown.dimensions.size() != self.lengths.size())
    fault("a view of another number of dimensions");
  auto made = std::make_unique<A>();
  made->buffer = self.buffer;
  made->parent = Hold(&self);
  made->offset = self.offset;
  made->type = self.type;
  for (const Dimension& one : shown.dimensions) {
    if (one.start + one.length > self.lengths[one.of]) fault("a view beyond the array");
    made->offset += one.start * self.strides[one.of];
    made->lengths.push_back(one.length);
    made->strides.push_back(self.strides[one.of]);
  }
  return autorelease(make_instance(array_class, std::move(made)));
}

void refuse_strides(const std::int64_t* strides) {
  if (strides != nullptr) fault("only NULL is known for strides: elements that lie close together");
}
void copy_elements(const A& array, std::byte* dense, bool to_array) {
  const std::uint64_t element = element_bytes(array.type);
  for (std::uint64_t n = 0; n < array.elements(); ++n, dense += element) {
    std::memcpy(to_array ? array.at(n) : dense, to_array ? dense : array.at(n), element);
  }
}
void write_bytes(A& self, void* bytes, std::int64_t* strides) {
  refuse_strides(strides);
  copy_elements(self, static_cast<std::byte*>(bytes), true);
}
void read_bytes(A& self, void* bytes, std::int64_t* strides) {
  refuse_strides(strides);
  copy_elements(self, static_cast<std::byte*>(bytes), false);
}

void transfer(A& self, CommandBufferState& buffer, BufferState& other, Type type,
              std::uint64_t offset, const std::int64_t* strides, bool to_array) {
  buffer.check_encodable();
  refuse_strides(strides);
  if (type != self.type) fault("only a transfer without conversion is known");
  if (offset % element_bytes(type) != 0) fault("the offset must be a multiple of the element size");
  other.check_range("the transfer", offset, self.dense_bytes());
  if (self.buffer.get() == &other) fault("a transfer between an array and its own buffer");
  buffer.append({.what = "MPSNDArray transfer",
                 .run = [array = Hold(&self), held = Hold(&other), offset, to_array] {
                   copy_elements(*array, held->bytes() + offset, to_array);
                 }});
}
void import_data(A& self, CommandBufferState& buffer, BufferState& from, Type type,
                 std::uint64_t offset, std::int64_t* strides) {
  transfer(self, buffer, from, type, offset, strides, true);
}
void export_data(A& self, CommandBufferState& buffer, BufferState& to, Type type,
                 std::uint64_t offset, std::int64_t* strides) {
  transfer(self, buffer, to, type, offset, strides, false);
}

// ---- MPSNDArrayMatrixMultiplication

class ArrayProductState final : public KernelState {
 public:
  ArrayProductState(DeviceState& of, std::uint64_t sources) : KernelState(of), count(sources) {}
  const std::uint64_t count;
  double alpha = 1;
  double beta = 1;
};
using P = ArrayProductState;

Object* init_product(Object* self, DeviceState& device, std::uint64_t sources) {
  if (sources != 2 && sources != 3) fault("a product has 2 or 3 sources");
  return initialise<P>(self, device, sources);
}

/// An array as matrices in two dimensions of batches.
struct Matrices {
  Hold<A> array;
  std::uint64_t lengths[4]{1, 1, 1, 1}, strides[4]{};

  explicit Matrices(A& of) : array(&of) {
    if (of.lengths.size() < 2 || of.lengths.size() > 4) fault("a product of 2 to 4 dimensions");
    std::copy(of.lengths.begin(), of.lengths.end(), lengths);
    std::copy(of.strides.begin(), of.strides.end(), strides);
  }
  std::byte* at(std::uint64_t b3, std::uint64_t b2, std::uint64_t row, std::uint64_t column) const {
    // A length of 1 repeats.
    return array->buffer->bytes() + array->offset + (lengths[3] == 1 ? 0 : b3) * strides[3] +
           (lengths[2] == 1 ? 0 : b2) * strides[2] + row * strides[1] + column * strides[0];
  }
};

void check_shapes(const Matrices& a, const Matrices& b, const Matrices& c) {
  bool fits =
      a.lengths[0] == b.lengths[1] && c.lengths[0] == b.lengths[0] && c.lengths[1] == a.lengths[1];
  for (int i = 2; i < 4; ++i) {
    fits = fits && (a.lengths[i] == 1 || a.lengths[i] == c.lengths[i]) &&
           (b.lengths[i] == 1 || b.lengths[i] == c.lengths[i]) &&
           c.lengths[i] == std::max(a.lengths[i], b.lengths[i]);
  }
  if (!fits) fault("the shapes of the product do not fit");
}

void multiply(const Matrices& a, const Matrices& b, const std::optional<Matrices>& added,
              const Matrices& c, double alpha, double beta) {
  const Type type = c.array->type;
  for (std::uint64_t i3 = 0; i3 < c.lengths[3]; ++i3) {
    for (std::uint64_t i2 = 0; i2 < c.lengths[2]; ++i2) {
      for (std::uint64_t i = 0; i < c.lengths[1]; ++i) {
        for (std::uint64_t j = 0; j < c.lengths[0]; ++j) {
          double sum = 0;
          for (std::uint64_t k = 0; k < a.lengths[0]; ++k) {
            sum += load(a.at(i3, i2, i, k), type) * load(b.at(i3, i2, k, j), type);
          }
          const double plus = added ? beta * load(added->at(i3, i2, i, j), type) : 0;
          store(c.at(i3, i2, i, j), type, alpha * sum + plus);
        }
      }
    }
  }
}

void encode_product(P& self, CommandBufferState& buffer, softmetal::ArrayState& list, A& result) {
  const std::vector<A*> sources = list.states<A>();
  if (sources.size() != self.count) {
    fault("the kernel has " + std::to_string(self.count) + " sources; got " +
          std::to_string(sources.size()));
  }
  check_type("the result", result.type, {kFloat32, kFloat16});
  if (result.parent) fault("the result is a view");
  for (const A* source : sources) {
    if (source->type != result.type) fault("sources and result must have the same type");
    if (source->buffer.get() == result.buffer.get() && source->offset < result.end() &&
        result.offset < source->end()) {
      fault("the result overlaps a source");
    }
    constexpr std::uint64_t kMost = 32766;
    for (const std::uint64_t length : source->lengths) {
      if (length > kMost) fault("a length above 32766 is known to give wrong results");
    }
  }
  const Matrices a(*sources[0]), b(*sources[1]), c(result);
  check_shapes(a, b, c);
  std::optional<Matrices> added;
  if (self.count == 3) {
    added.emplace(*sources[2]);
    if (sources[2]->lengths != result.lengths)
      fault("the third source is not of the result's shape");
  }
  self.encode(buffer, "MPSNDArrayMatrixMultiplication",
              [a, b, added, c, alpha = self.alpha, beta = self.beta] {
                multiply(a, b, added, c, alpha, beta);
              });
}

}  // namespace

void register_arrays() {
  descriptor_class =
      ClassBuilder<"MPSNDArrayDescriptor">("MPSNDArrayDescriptor", "NSObject")
          .class_method<"descriptorWithDataType:dimensionCount:dimensionSizes:", &describe_sizes>()
          .method<"dataType", &get_property<D, &D::type>>()
          .method<"numberOfDimensions", &dimension_count>()
          .method<"lengthOfDimension:", &length_of>()
          .method<"preferPackedRows", &get_property<D, &D::packed_rows>>()
          .method<"setPreferPackedRows:", &set_property<D, &D::packed_rows>>()
          .method<"sliceDimension:withSubrange:", &slice>()
          .method<"transposeDimension:withDimension:", &transpose>()
          .done();
  array_class =
      ClassBuilder<"MPSNDArray">("MPSNDArray", "NSObject")
          .method<"initWithDevice:descriptor:", &init_array>()
          .method<"initWithBuffer:offset:descriptor:", &init_on_buffer>()
          .method<"dataType", &array_type>()
          .method<"dataTypeSize", &array_type_bytes>()
          .method<"numberOfDimensions", &array_rank>()
          .method<"lengthOfDimension:", &array_length>()
          .method<"parent", &array_parent>()
          .method<"descriptor", &array_describe>()
          .method<"arrayViewWithCommandBuffer:descriptor:aliasing:", &array_view>()
          .method<"writeBytes:strideBytes:", &write_bytes>()
          .method<"readBytes:strideBytes:", &read_bytes>()
          .method<"importDataWithCommandBuffer:fromBuffer:sourceDataType:offset:rowStrides:",
                  &import_data>()
          .method<"exportDataWithCommandBuffer:toBuffer:destinationDataType:offset:rowStrides:",
                  &export_data>()
          .done();
  ClassBuilder<"MPSNDArrayMultiaryKernel">("MPSNDArrayMultiaryKernel", "MPSKernel")
      .method<"initWithDevice:sourceCount:", &init_product>()
      .method<"encodeToCommandBuffer:sourceArrays:destinationArray:", &encode_product>()
      .done();
  ClassBuilder<"MPSNDArrayMatrixMultiplication">("MPSNDArrayMatrixMultiplication",
                                                 "MPSNDArrayMultiaryKernel")
      .method<"alpha", &get_property<P, &P::alpha>>()
      .method<"setAlpha:", &set_property<P, &P::alpha>>()
      .method<"beta", &get_property<P, &P::beta>>()
      .method<"setBeta:", &set_property<P, &P::beta>>()
      .done();
}

}  // namespace softmetal::mps

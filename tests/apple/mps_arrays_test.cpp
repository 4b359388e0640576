#include "apple/mps/mps_messages.hpp"
#include "apple/mps_test_support.hpp"
#include "apple/objc/foundation.hpp"

// Arrays of many dimensions and their products.

namespace wick::test {
namespace {

using mps::DataType;
namespace m = apple::mps::messages;
using Shape = std::vector<std::uint64_t>;
constexpr apple::objc::Message<apple::objc::MPSNDArray, '-',
                               "lengthOfDimension:", apple::objc::UInteger(apple::objc::UInteger)>
    length_of_dimension;

class MpsArraysTest : public MpsTest {
 protected:
  void SetUp() override {
    apple::objc::system_is_at_least(15, 0);  // makes an object that the process keeps
    MpsTest::SetUp();
  }
  static std::uint64_t count_of(const Shape& shape) {
    std::uint64_t count = 1;
    for (const std::uint64_t length : shape) count *= length;
    return count;
  }
  static std::vector<double> numbers(const Shape& shape, std::uint64_t seed) {
    return random(1, count_of(shape), seed).values;
  }
  static std::vector<std::byte> packed(const std::vector<double>& values, DataType type) {
    std::vector<std::byte> bytes(values.size() * mps::element_bytes(type));
    for (std::size_t i = 0; i < values.size(); ++i) {
      store_element(bytes.data() + i * mps::element_bytes(type), type, values[i]);
    }
    return bytes;
  }
  static std::vector<double> unpacked(const std::vector<std::byte>& bytes, DataType type) {
    std::vector<double> values;
    for (std::size_t i = 0; i < bytes.size(); i += mps::element_bytes(type)) {
      values.push_back(load_element(bytes.data() + i, type));
    }
    return values;
  }
  mps::NDArray make_array(const Shape& shape, const std::vector<double>& values,
                          DataType type = DataType::kFloat32) const {
    mps::NDArray array(device(), mps::NDArrayDescriptor({.shape = shape, .type = type}));
    array.write(packed(values, type));
    return array;
  }
  static std::vector<double> values_of_array(const mps::NDArray& array) {
    std::vector<std::byte> bytes(count_of(array.shape()) * mps::element_bytes(array.type()));
    array.read(bytes);
    return unpacked(bytes, array.type());
  }
  static mps::NDArrayLayout layout(const Shape& shape) { return {.shape = shape}; }
  mps::NDArray zeros(const Shape& shape, DataType type = DataType::kFloat32) const {
    return make_array(shape, std::vector<double>(count_of(shape)), type);
  }
};

/// The product of arrays in four dimensions, of which the first two may be 1.
std::vector<double> product_of(const Shape& a, const std::vector<double>& x, const Shape& b,
                               const std::vector<double>& y) {
  std::vector<double> result;
  for (std::uint64_t p = 0; p < std::max(a[0], b[0]); ++p) {
    for (std::uint64_t q = 0; q < std::max(a[1], b[1]); ++q) {
      const std::uint64_t at_x = ((a[0] == 1 ? 0 : p) * a[1] + (a[1] == 1 ? 0 : q)) * a[2] * a[3];
      const std::uint64_t at_y = ((b[0] == 1 ? 0 : p) * b[1] + (b[1] == 1 ? 0 : q)) * b[2] * b[3];
      for (std::uint64_t i = 0; i < a[2]; ++i) {
        for (std::uint64_t j = 0; j < b[3]; ++j) {
          double sum = 0;
          for (std::uint64_t k = 0; k < a[3]; ++k) {
            sum += x[at_x + i * a[3] + k] * y[at_y + k * b[3] + j];
          }
          result.push_back(sum);
        }
      }
    }
  }
  return result;
}

TEST_F(MpsArraysTest, WhatTheHostWritesItReads) {
  for (const DataType type : {DataType::kFloat32, DataType::kFloat16}) {
    const Shape shape{2, 3, 5};
    const std::vector<double> values = numbers(shape, 1);
    EXPECT_EQ(values_of_array(make_array(shape, values, type)), values);
  }
}

TEST_F(MpsArraysTest, ArraysOnBuffersSeeTheirBytes) {
  const Shape shape{2, 3};
  const std::vector<double> values = numbers(shape, 1);
  const mps::NDArrayDescriptor rows({.shape = shape});
  const mps::NDArrayDescriptor close({.shape = shape, .packed_rows = true});
  EXPECT_EQ(rows.row_bytes(), 16u);
  EXPECT_EQ(rows.bytes(), 32u);
  EXPECT_EQ(close.bytes(), 24u);
  const metal::Buffer buffer = device().buffer(36);
  mps::NDArray(buffer, rows, 4).write(packed(values, DataType::kFloat32));
  EXPECT_EQ(static_cast<double>(download<float>(buffer, 9)[1]), values[0]);
  EXPECT_EQ(static_cast<double>(download<float>(buffer, 9)[5]), values[3]);
  mps::NDArray(buffer, close, 4).write(packed(values, DataType::kFloat32));
  EXPECT_EQ(static_cast<double>(download<float>(buffer, 9)[4]), values[3]);
}

TEST_F(MpsArraysTest, TransfersToAndFromBuffers) {
  const Shape shape{3, 4};
  const std::vector<double> values = numbers(shape, 1);
  const metal::Buffer source = device().buffer(packed(values, DataType::kFloat32));
  const metal::Buffer result = device().buffer(52);
  const mps::NDArray array = zeros(shape);
  run([&](metal::CommandBuffer& buffer) {
    array.import_from(buffer, source);
    array.export_to(buffer, result, 4);
  });
  EXPECT_EQ(values_of_array(array), values);
  EXPECT_EQ(static_cast<double>(download<float>(result, 13)[12]), values[11]);
}

TEST_F(MpsArraysTest, ViewsShowPartsAndTranspositions) {
  const Shape shape{2, 3, 4};
  const std::vector<double> values = numbers(shape, 1);
  const mps::NDArray array = make_array(shape, values);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::NDArray turned = array.transposed(buffer, 0, 2);
  EXPECT_EQ(turned.shape(), (Shape{4, 3, 2}));
  EXPECT_TRUE(turned.is_view());
  const mps::NDArray part = turned.sliced(buffer, 0, 1, 2).sliced(buffer, 1, 2, 1);
  EXPECT_EQ(part.shape(), (Shape{2, 1, 2}));
  EXPECT_EQ(values_of_array(part),
            (std::vector<double>{values[9], values[21], values[10], values[22]}));
}

TEST_F(MpsArraysTest, ProductsOfEveryShapeFactorAndType) {
  const Shape kLeft[] = {{1, 1, 2, 3}, {2, 3, 4, 5}, {2, 1, 4, 5}, {1, 3, 1, 7}};
  for (const Shape& a : kLeft) {
    for (int choice = 0; choice < 8; ++choice) {
      const Shape b{choice & 1 ? 2u : 1u, a[1] == 3 ? 1u : 3u, a[3], 6};
      const DataType type = choice & 2 ? DataType::kFloat16 : DataType::kFloat32;
      const bool adds = choice & 4;
      const auto x = numbers(a, 1), y = numbers(b, 2);
      auto expected = product_of(a, x, b, y);
      const Shape shape{std::max(a[0], b[0]), std::max(a[1], b[1]), a[2], 6};
      const auto old = numbers(shape, 3);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = 0.5 * expected[i] + (adds ? -2 * old[i] : 0);
      }
      const mps::NDArray left = make_array(a, x, type), right = make_array(b, y, type);
      const mps::NDArray added = make_array(shape, old, type), result = zeros(shape, type);
      const mps::NDArrayMatrixMultiplication product(device(), 0.5, -2);
      run([&](metal::CommandBuffer& buffer) {
        if (adds) {
          product.encode(buffer, left, right, added, result);
        } else {
          product.encode(buffer, left, right, result);
        }
      });
      SCOPED_TRACE(choice);
      expect_near(values_of_array(result), expected, type == DataType::kFloat16 ? 2e-3 : 1e-6);
    }
  }
}

TEST_F(MpsArraysTest, ProductsOfViews) {
  const auto x = numbers({3, 2}, 1), y = numbers({4, 5}, 2);
  const mps::NDArray left = make_array({3, 2}, x), right = make_array({4, 5}, y);
  const mps::NDArray result = zeros({2, 5});
  const mps::NDArrayMatrixMultiplication product(device());
  run([&](metal::CommandBuffer& buffer) {
    product.encode(buffer, left.transposed(buffer, 0, 1), right.sliced(buffer, 0, 1, 3), result);
  });
  std::vector<double> turned{x[0], x[2], x[4], x[1], x[3], x[5]};
  expect_near(values_of_array(result),
              product_of({1, 1, 2, 3}, turned, {1, 1, 3, 5}, {y.begin() + 5, y.end()}), 1e-6);
}

TEST_F(MpsArraysTest, WhatDescriptorsAndArraysRefuse) {
  const auto described = [](const Shape& shape) {
    return error_of([&] { const mps::NDArrayDescriptor made(layout(shape)); });
  };
  constexpr std::string_view kDescriptor = "mps.ndarray_descriptor";
  expect_refused(described({}), kDescriptor, "1 to 16 dimensions; got []");
  expect_refused(described(Shape(17, 1)), kDescriptor, "1 to 16");
  expect_refused(described({2, 0}), kDescriptor, "no dimension may be 0; got [2,0]");
  // MPS takes 2^31 itself; one fewer is our limit.
  expect_refused(described({1 << 16, 1 << 15}), kDescriptor, "fewer than 2^31 elements");
  expect_refused(described({1 << 16, 1 << 16}), kDescriptor, "fewer than 2^31 elements");
  const metal::Buffer small = device().buffer(31);
  const mps::NDArrayDescriptor six(layout({2, 3}));
  expect_refused(error_of([&] { mps::NDArray(small, six); }), "mps.ndarray",
                 "the buffer has 31 bytes; 32 are needed from offset 0");
  expect_refused(error_of([&] { mps::NDArray(small, six, 2); }), "mps.ndarray",
                 "a multiple of 4; got 2");
  const mps::NDArray array = zeros({2, 3});
  metal::CommandBuffer buffer = device().queue().command_buffer();
  expect_refused(error_of([&] { array.transposed(buffer, 0, 2); }), "mps.ndarray_transposed",
                 "dimension 2 is not there; the array is [2,3]");
  expect_refused(error_of([&] { array.sliced(buffer, 1, 1, 3); }), "mps.ndarray_sliced",
                 "3 from 1 on are not in dimension 1 of [2,3]");
  expect_refused(error_of([&] { array.sliced(buffer, 1, 1, 0); }), "mps.ndarray_sliced",
                 "0 from 1");
  expect_refused(error_of([&] { array.import_from(buffer, small, 8); }), "mps.ndarray_import",
                 "31 bytes; got offset 8 and 24");
  expect_refused(error_of([&] { array.export_to(buffer, small, 3); }), "mps.ndarray_export",
                 "a multiple of 4; got 3");
  const metal::Buffer own = device().buffer(32);
  const mps::NDArray on_it(own, six);
  expect_refused(error_of([&] { on_it.export_to(buffer, own); }), "mps.ndarray_export",
                 "lies on this buffer");
  softmetal::inject({.buffer_allocation = 1});
  EXPECT_EQ(error_of([&] { mps::NDArray(device(), six); }).kind(), ErrorKind::kOutOfMemory);
}

TEST_F(MpsArraysTest, WhatProductsRefuse) {
  const mps::NDArray a = zeros({2, 3}), b = zeros({3, 4}), c = zeros({2, 4});
  const mps::NDArrayMatrixMultiplication product(device());
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const auto refused = [&](const mps::NDArray& left, const mps::NDArray& right,
                           const mps::NDArray& result, std::string_view part) {
    expect_refused(error_of([&] { product.encode(buffer, left, right, result); }),
                   "mps.ndarray_matrix_multiplication", part);
  };
  refused(a, a, c, "no product of [2,3] and [2,3]");
  refused(zeros({2, 2, 3}), zeros({3, 3, 4}), c, "no product of [2,2,3] and [3,3,4]");
  refused(a, b, zeros({4, 2}), "the result must be [2,4]; it is [4,2]");
  refused(zeros({3}), b, c, "the left array must have 2 to 4 dimensions; it is [3]");
  refused(a, zeros({3, 4}, DataType::kFloat16), c,
          "the right array must be Float32; it is Float16");
  refused(zeros({1, 32767}), zeros({32767, 1}), zeros({1, 1}), "MatrixMultiplication cuts");
  const mps::NDArray square = zeros({3, 3});
  refused(square, zeros({3, 3}), square, "overlaps the left array");
  refused(a, b, c.transposed(buffer, 0, 1).transposed(buffer, 0, 1), "must not be a view");
  const mps::NDArrayDescriptor brain({.shape = {2, 2}, .type = DataType::kBFloat16});
  const mps::NDArray bf(device(), brain);
  refused(bf, bf, bf, "must be Float32 or Float16; they are BFloat16");
  expect_refused(error_of([&] { product.encode(buffer, a, b, b, c); }),
                 "mps.ndarray_matrix_multiplication", "what is added must be [2,4]");
  const metal::Buffer memory = device().buffer(64);
  const mps::NDArrayDescriptor on(layout({2, 2}));
  const mps::NDArray low(memory, on), high(memory, on, 16), apart(memory, on, 32);
  EXPECT_NO_THROW(product.encode(buffer, low, low, apart));
  refused(zeros({2, 2}), low, high, "overlaps the right array");
  EXPECT_THROW(mps::NDArrayMatrixMultiplication(device(), HUGE_VAL), Error);
  buffer.commit();
  refused(a, b, c, "committed already");
}

// ---- the same by raw messages: what MPS would end the process for

TEST_F(MpsArraysTest, WhatMpsSaysOfDescriptorsAndViews) {
  using namespace apple::objc;
  const apple::AutoreleaseScope scope;
  constexpr std::uint32_t kFloat = 0x10000020;
  UInteger sizes[2]{1 << 16, 1 << 16};
  EXPECT_TEXT(fault_of([&] { m::describe_array(kFloat, 2, sizes); }), "> 2**31");
  EXPECT_TEXT(fault_of([&] { m::describe_array(kFloat, 0, sizes); }), "1 to 16");
  UInteger none[1]{0};
  EXPECT_TEXT(fault_of([&] { m::describe_array(kFloat, 1, none); }), "length 0");
  UInteger six[2]{3, 2};
  MPSNDArrayDescriptor* const descriptor = m::describe_array(kFloat, 2, six);
  const metal::Buffer small = device().buffer(31);
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSNDArray>(m::init_array_on_buffer, small.object().get(), 0,
                                              descriptor);
              }),
              "buffer is not large enough");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSNDArray>(m::init_array_on_buffer, small.object().get(), 2,
                                              descriptor);
              }),
              "multiple of the element");
  EXPECT_TEXT(fault_of([&] { m::slice_dimension(descriptor, 0, {3, 1}); }),
              "is not less than length of dimension");
  EXPECT_TEXT(fault_of([&] { m::slice_dimension(descriptor, 0, {1, 3}); }), "beyond the dimension");
  EXPECT_TEXT(fault_of([&] { m::transpose_dimensions(descriptor, 0, 2); }), "dimension 2");
  const mps::NDArray array = zeros({2, 3});
  metal::CommandBuffer buffer = device().queue().command_buffer();
  MTLCommandBuffer* const work = buffer.object().get();
  EXPECT_TEXT(fault_of([&] {
                m::import_data(array.object().get(), work, small.object().get(), kFloat, 8,
                               nullptr);
              }),
              "beyond a buffer of 31");
  buffer.commit();
  EXPECT_TEXT(fault_of([&] {
                m::export_data(array.object().get(), work, small.object().get(), kFloat, 0,
                               nullptr);
              }),
              "committed already");
}

TEST_F(MpsArraysTest, WhatMpsSaysOfProducts) {
  using namespace apple::objc;
  const mps::NDArray a = zeros({2, 3}), b = zeros({3, 4}), c = zeros({2, 4});
  const mps::NDArray half = zeros({3, 4}, DataType::kFloat16);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const auto said = [&](const mps::NDArray& left, const mps::NDArray& right,
                        const mps::NDArray& result) {
    return fault_of([&] {
      const apple::AutoreleaseScope scope;
      const auto kernel = apple::objc::make<MPSNDArrayMatrixMultiplication>(
          m::init_array_kernel, device().object().get(), 2);
      apple::Object* const sources[] = {left.object().get(), right.object().get()};
      const auto list = apple::objc::make_array(sources);
      m::encode_array_kernel(kernel.get(), buffer.object().get(), list.get(),
                             result.object().get());
    });
  };
  EXPECT_TEXT(said(a, a, c), "do not fit");
  EXPECT_TEXT(said(a, b, b), "overlaps a source");
  EXPECT_TEXT(said(a, half, c), "same type");
  EXPECT_TEXT(said(a, zeros({4}), c), "2 to 4 dimensions");
  EXPECT_TEXT(said(zeros({1, 32767}), zeros({32767, 1}), zeros({1, 1})), "wrong results");
  EXPECT_TEXT(said(a, b, c.transposed(buffer, 0, 1)), "is a view");
  const mps::NDArray brain = zeros({2, 2}, DataType::kBFloat16);
  EXPECT_TEXT(said(brain, brain, brain), "BFloat16 is no type of the result");
}

TEST_F(MpsArraysTest, WhatMpsSaysOfWhatIsAdded) {
  using namespace apple::objc;
  const apple::AutoreleaseScope scope;
  const mps::NDArrayDescriptor square(layout({2, 2}));
  const metal::Buffer memory = device().buffer(64);
  const mps::NDArray left = zeros({2, 2}), right = zeros({2, 2}), wide = zeros({2, 3});
  const mps::NDArray added(memory, square), result(memory, square, 16);
  const mps::NDArrayMatrixMultiplication product(device(), 1, 1);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const auto kernel = apple::objc::make<MPSNDArrayMatrixMultiplication>(m::init_array_kernel,
                                                                        device().object().get(), 3);
  const auto said = [&](std::vector<apple::Object*> sources) {
    return fault_of([&] {
      const auto list = apple::objc::make_array(sources);
      m::encode_array_kernel(kernel.get(), buffer.object().get(), list.get(),
                             result.object().get());
    });
  };
  const auto refused = [&](const mps::NDArray& plus, std::string_view part,
                           std::string_view fault) {
    expect_refused(error_of([&] { product.encode(buffer, left, right, plus, result); }),
                   "mps.ndarray_matrix_multiplication", part);
    EXPECT_TEXT(said({left.object().get(), right.object().get(), plus.object().get()}), fault);
  };
  refused(added, "the result overlaps what is added", "overlaps a source");
  refused(wide, "what is added must be [2,2]; it is [2,3]", "not of the result's shape");
  refused(zeros({2, 2}, DataType::kFloat16), "what is added must be Float32; it is Float16",
          "same type");
  EXPECT_TEXT(said({left.object().get(), right.object().get()}), "has 3 sources; got 2");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSNDArrayMatrixMultiplication>(m::init_array_kernel,
                                                                  device().object().get(), 4);
              }),
              "2 or 3 sources");
}

// Calls of ours cannot ask for these.
TEST_F(MpsArraysTest, WhatOnlyRawMessagesGetWrong) {
  using namespace apple::objc;
  const apple::AutoreleaseScope scope;
  constexpr std::uint32_t kFloat = 0x10000020, kHalf = 0x10000010;
  constexpr UInteger kShallAlias = 1, kShallNotAlias = 2;
  EXPECT_TEXT(fault_of([&] { m::describe_array(kFloat, 2, nullptr); }), "may not be NULL");
  UInteger six[2]{3, 2}, one[1]{6}, nine[2]{3, 3};
  MPSNDArrayDescriptor* const turned = m::describe_array(kFloat, 2, six);
  m::transpose_dimensions(turned, 0, 1);
  EXPECT_TEXT(fault_of([&] { m::slice_dimension(turned, 0, {0, 1}); }), "after a transposition");
  EXPECT_TEXT(fault_of([&] {
                apple::objc::make<MPSNDArray>(m::init_array, device().object().get(), turned);
              }),
              "a descriptor of a view");
  const mps::NDArray array = zeros({2, 3});
  MPSNDArray* const object = array.object().get();
  EXPECT_TEXT(fault_of([&] { length_of_dimension(object, 2); }), "no such dimension");
  const metal::Buffer memory = device().buffer(32);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  MTLCommandBuffer* const work = buffer.object().get();
  const auto viewed = [&](MPSNDArrayDescriptor* descriptor, UInteger aliasing) {
    return fault_of([&] { m::array_view(object, work, descriptor, aliasing); });
  };
  MPSNDArrayDescriptor* const same = m::describe_array(kFloat, 2, six);
  EXPECT_TEXT(viewed(same, kShallNotAlias), "shall alias");
  EXPECT_TEXT(viewed(m::describe_array(kHalf, 2, six), kShallAlias), "of another type");
  EXPECT_TEXT(viewed(m::describe_array(kFloat, 1, one), kShallAlias),
              "another number of dimensions");
  EXPECT_TEXT(viewed(m::describe_array(kFloat, 2, nine), kShallAlias), "beyond the array");
  float values[6]{};
  Integer strides[2]{4, 12};
  EXPECT_TEXT(fault_of([&] { m::write_bytes(object, values, strides); }), "only NULL is known");
  const auto transferred = [&](const mps::NDArray& to, std::uint32_t type, UInteger offset) {
    return fault_of([&] {
      m::import_data(to.object().get(), work, memory.object().get(), type, offset, nullptr);
    });
  };
  EXPECT_TEXT(transferred(array, kHalf, 0), "without conversion");
  EXPECT_TEXT(transferred(array, kFloat, 3), "multiple of the element size");
  const mps::NDArray on_it(memory, mps::NDArrayDescriptor(layout({2, 3})));
  EXPECT_TEXT(transferred(on_it, kFloat, 0), "its own buffer");
}

}  // namespace
}  // namespace wick::test

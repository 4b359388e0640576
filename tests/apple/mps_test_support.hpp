#pragma once

#include <random>

#include "apple/apple_test_support.hpp"
#include "wick/apple/mps.hpp"
#include "wick/base/float16.hpp"

namespace wick::test {

namespace mps = apple::mps;
namespace metal = apple::metal;

/// An element as a number.
inline double load_element(const std::byte* at, mps::DataType type) {
  const auto read = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof(T));
    return value;
  };
  switch (type) {
    case mps::DataType::kFloat32:
      return read(float{});
    case mps::DataType::kFloat16:
      return static_cast<float>(read(Half{}));
    case mps::DataType::kBFloat16:
      return static_cast<float>(read(BFloat16{}));
    case mps::DataType::kInt8:
      return read(std::int8_t{});
    case mps::DataType::kInt16:
      return read(std::int16_t{});
    case mps::DataType::kInt32:
      return read(std::int32_t{});
    case mps::DataType::kUInt8:
      return read(std::uint8_t{});
    case mps::DataType::kUInt16:
      return read(std::uint16_t{});
    case mps::DataType::kUInt32:
      return read(std::uint32_t{});
  }
  return 0;
}

inline void store_element(std::byte* at, mps::DataType type, double value) {
  const auto write = [at](auto number) { std::memcpy(at, &number, sizeof(number)); };
  switch (type) {
    case mps::DataType::kFloat32:
      return write(static_cast<float>(value));
    case mps::DataType::kFloat16:
      return write(Half(static_cast<float>(value)));
    case mps::DataType::kBFloat16:
      return write(BFloat16(static_cast<float>(value)));
    case mps::DataType::kInt8:
      return write(static_cast<std::int8_t>(value));
    case mps::DataType::kInt16:
      return write(static_cast<std::int16_t>(value));
    case mps::DataType::kInt32:
      return write(static_cast<std::int32_t>(value));
    case mps::DataType::kUInt8:
      return write(static_cast<std::uint8_t>(value));
    case mps::DataType::kUInt16:
      return write(static_cast<std::uint16_t>(value));
    case mps::DataType::kUInt32:
      return write(static_cast<std::uint32_t>(value));
  }
}

/// A batch of matrices with what it holds, for references in plain loops.
struct Host {
  std::uint64_t rows = 0, columns = 0, matrices = 1;
  std::vector<double> values;

  double& at(std::uint64_t b, std::uint64_t i, std::uint64_t j) {
    return values.at((b * rows + i) * columns + j);
  }
  double at(std::uint64_t b, std::uint64_t i, std::uint64_t j) const {
    return values.at((b * rows + i) * columns + j);
  }
};

class MpsTest : public AppleTest {
 protected:
  /// Encodes, commits and waits.
  template <class F>
  void run(F encode) const {
    metal::CommandBuffer buffer = device().queue().command_buffer();
    encode(buffer);
    buffer.commit();
    buffer.wait();
  }

  /// A matrix of these values at the offset of a new buffer; what is between the elements is a NaN.
  mps::Matrix make(const mps::MatrixLayout& layout, const std::vector<double>& values,
                   std::size_t offset = 0) const {
    const mps::MatrixDescriptor descriptor(layout);
    const metal::Buffer buffer = device().buffer(offset + descriptor.bytes());
    const mps::Matrix matrix(buffer, descriptor, offset);
    for_each(matrix,
             [&](std::byte* at, std::size_t i) { store_element(at, layout.type, values.at(i)); });
    return matrix;
  }
  mps::Matrix make(const Host& host, mps::DataType type = mps::DataType::kFloat32) const {
    return make(
        {.rows = host.rows, .columns = host.columns, .type = type, .matrices = host.matrices},
        host.values);
  }
  /// One whose elements are all NaN (or -1).
  mps::Matrix make_empty(const mps::MatrixLayout& layout, std::size_t offset = 0) const {
    const mps::MatrixDescriptor descriptor(layout);
    return {device().buffer(offset + descriptor.bytes()), descriptor, offset};
  }
  mps::Vector make_vector(const std::vector<double>& values,
                          mps::DataType type = mps::DataType::kFloat32) const {
    const mps::VectorDescriptor descriptor({.length = values.size(), .type = type});
    const metal::Buffer buffer = device().buffer(descriptor.bytes());
    for (std::size_t i = 0; i < values.size(); ++i) {
      store_element(buffer.contents() + i * mps::element_bytes(type), type, values[i]);
    }
    return {buffer, descriptor};
  }
  static std::vector<double> values_of(const mps::Matrix& matrix) {
    std::vector<double> values;
    for_each(matrix, [&](std::byte* at, std::size_t) {
      values.push_back(load_element(at, matrix.layout().type));
    });
    return values;
  }
  static std::vector<double> values_of(const mps::Vector& vector) {
    std::vector<double> values;
    const std::size_t element = mps::element_bytes(vector.layout().type);
    for (std::uint64_t i = 0; i < vector.layout().length; ++i) {
      values.push_back(load_element(vector.buffer().contents() + vector.offset() + i * element,
                                    vector.layout().type));
    }
    return values;
  }
  /// Numbers in [-1, 1) that Float16 holds exactly.
  static Host random(std::uint64_t rows, std::uint64_t columns, std::uint64_t seed,
                     std::uint64_t matrices = 1) {
    std::mt19937_64 bits(seed);
    Host host{rows, columns, matrices, {}};
    for (std::uint64_t i = 0; i < rows * columns * matrices; ++i) {
      host.values.push_back(static_cast<double>(bits() % 256) / 128 - 1);
    }
    return host;
  }
  static void expect_near(const std::vector<double>& got, const std::vector<double>& expected,
                          double tolerance) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])))
          << "element " << i << " is " << got[i] << ", not " << expected[i];
    }
  }
  static void expect_refused(const Error& error, std::string_view op, std::string_view part) {
    EXPECT_EQ(error.kind(), ErrorKind::kArgument) << error.what();
    EXPECT_EQ(error.op(), op);
    EXPECT_TEXT(error.what(), part);
  }

 private:
  template <class F>
  static void for_each(const mps::Matrix& matrix, F use) {
    const mps::MatrixLayout& l = matrix.layout();
    const std::size_t element = mps::element_bytes(l.type);
    std::byte* const first = matrix.buffer()->contents() + matrix.offset();
    std::size_t n = 0;
    for (std::uint64_t k = 0; k < l.matrices; ++k) {
      for (std::uint64_t i = 0; i < l.rows; ++i) {
        for (std::uint64_t j = 0; j < l.columns; ++j) {
          use(first + k * l.matrix_bytes + i * l.row_bytes + j * element, n++);
        }
      }
    }
  }
};

}  // namespace wick::test

#pragma once

#include "apple/mps/mps_messages.hpp"
#include "apple/mps_test_support.hpp"
#include "apple/objc/foundation.hpp"

// Rules of MPS, each twice: the checked call is an Error with the numbers, and raw messages of the same operands come to
// where MPS ends the process. Those of MatrixMultiplication and of arrays stand beside their own tests; mps_refusals_test
// has those that MPS has no word for.

namespace wick::test {

inline constexpr std::uint32_t kRawFloat = 0x10000020, kRawUnsigned = 0x20;

inline apple::objc::MTLOrigin to_raw(mps::Origin origin) { return {origin.row, origin.column, 0}; }
inline apple::objc::MPSMatrix* object_of(const mps::Matrix& matrix) {
  return matrix.object().get();
}
inline apple::objc::MPSVector* object_of(const mps::Vector* vector) {
  return vector == nullptr ? nullptr : vector->object().get();
}

class MpsRulesTest : public MpsTest {
 protected:
  void SetUp() override {
    MpsTest::SetUp();
    scope_.emplace();
    buffer_.emplace(device().queue().command_buffer());
    matrices_ = {make(random(4, 6, 1)), make(random(4, 6, 2)),
                 make_empty({.rows = 4, .columns = 6}),
                 make(random(4, 6, 3), mps::DataType::kFloat16),
                 make_empty({.rows = 4, .columns = 6, .type = mps::DataType::kUInt32})};
  }
  void TearDown() override {
    matrices_.clear();
    buffer_.reset();
    scope_.reset();
    MpsTest::TearDown();
  }
  apple::objc::MTLDevice* raw() const { return device().object().get(); }
  metal::CommandBuffer& buffer() { return *buffer_; }
  apple::objc::MTLCommandBuffer* work() const { return buffer_->object().get(); }
  // All are 4 x 6.
  const mps::Matrix& matrix() const { return matrices_[0]; }
  const mps::Matrix& other() const { return matrices_[1]; }
  const mps::Matrix& third() const { return matrices_[2]; }
  const mps::Matrix& half() const { return matrices_[3]; }
  const mps::Matrix& index() const { return matrices_[4]; }
  /// The same memory as 4 x 6 elements of another type.
  static mps::Matrix again(const mps::Matrix& of, mps::DataType type) {
    return {*of.buffer(), mps::MatrixDescriptor({.rows = 4, .columns = 6, .type = type})};
  }
  /// The first elements of a matrix.
  static mps::Vector first_row(const mps::Matrix& of, std::uint64_t length) {
    return {*of.buffer(), mps::VectorDescriptor({.length = length, .type = of.layout().type})};
  }

  template <class Checked, class Raw>
  static void expect_both(std::string_view op, Checked checked, std::string_view part, Raw raw,
                          std::string_view said) {
    expect_refused(error_of(checked), op, part);
    EXPECT_TEXT(fault_of(raw), said);
  }

 private:
  std::optional<apple::AutoreleaseScope> scope_;
  std::optional<metal::CommandBuffer> buffer_;
  std::vector<mps::Matrix> matrices_;
};

}  // namespace wick::test

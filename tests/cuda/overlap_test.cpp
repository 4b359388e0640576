#include "backends/cuda/overlap.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "layout/tensor_view.hpp"

namespace wick::cuda {

namespace {

// Memory of a device that nobody looks at.
constexpr std::array<float, 64> kMemory{};

MemoryRange floats(std::size_t begin, std::size_t count) {
  return {kMemory.data() + begin, count * sizeof(float)};
}

bool admits(const OverlappingKernels& kernels, const MemoryRange& early) {
  return kernels.admit({&early, 1});
}

void add(OverlappingKernels& kernels, bool admitted, const MemoryRange& written) {
  kernels.add(admitted, {&written, 1});
}

TEST(OverlappingKernels, AdmitNothingBehindOtherWork) {
  OverlappingKernels kernels;
  EXPECT_FALSE(kernels.admit({}));
  add(kernels, false, floats(0, 8));
  EXPECT_TRUE(kernels.admit({}));
  kernels.clear();
  EXPECT_FALSE(kernels.admit({}));
}

TEST(OverlappingKernels, ReadNothingEarlyThatOneOfThemWrites) {
  OverlappingKernels kernels;
  add(kernels, false, floats(8, 8));
  add(kernels, true, floats(32, 4));
  EXPECT_TRUE(admits(kernels, floats(0, 8)));
  EXPECT_TRUE(admits(kernels, floats(16, 16)));
  EXPECT_TRUE(admits(kernels, floats(36, 28)));
  EXPECT_FALSE(admits(kernels, floats(0, 9)));
  EXPECT_FALSE(admits(kernels, floats(15, 1)));
  EXPECT_FALSE(admits(kernels, floats(10, 2)));
  EXPECT_FALSE(admits(kernels, floats(0, 64)));
  EXPECT_FALSE(admits(kernels, floats(35, 1)));
}

// It began when everything before it was over, so what that wrote may be read.
TEST(OverlappingKernels, ForgetWhatWasWrittenBeforeOneThatBeganAnew) {
  OverlappingKernels kernels;
  add(kernels, false, floats(8, 8));
  add(kernels, false, floats(32, 4));
  EXPECT_TRUE(admits(kernels, floats(8, 8)));
  EXPECT_FALSE(admits(kernels, floats(32, 1)));
}

TEST(OverlappingKernels, KeepTheLongestOfRangesThatBeginAlike) {
  OverlappingKernels kernels;
  add(kernels, false, floats(8, 8));
  add(kernels, true, floats(8, 2));
  EXPECT_FALSE(admits(kernels, floats(15, 1)));
  add(kernels, true, floats(8, 16));
  EXPECT_FALSE(admits(kernels, floats(23, 1)));
}

TEST(OverlappingKernels, AreNotSearchedWithoutEnd) {
  OverlappingKernels kernels;
  const std::vector<char> memory(2048);
  add(kernels, false, {});
  std::size_t count = 0;
  while (count < memory.size() && kernels.admit({})) {
    add(kernels, true, {memory.data() + count++, 1});
  }
  EXPECT_GT(count, 400U);
  EXPECT_LT(count, memory.size());
}

TEST(RangeOf, GoesFromTheFirstToTheLastElement) {
  const auto view = [](const Shape& shape, const Strides& strides) {
    TensorView result;
    result.data = const_cast<float*>(kMemory.data());  // is not written
    result.shape = shape;
    result.strides = strides;
    result.present = true;
    return result;
  };
  EXPECT_EQ(range_of(view({2, 3}, {10, 1})).bytes, 13 * sizeof(float));
  EXPECT_EQ(range_of(view({3, 2}, {1, 10})).bytes, 13 * sizeof(float));
  EXPECT_EQ(range_of(view({}, {})).bytes, sizeof(float));
  EXPECT_EQ(range_of(view({0, 3}, {3, 1})).bytes, 0U);
  EXPECT_EQ(range_of(TensorView{}).bytes, 0U);
}

}  // namespace

}  // namespace wick::cuda

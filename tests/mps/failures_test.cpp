#include <gtest/gtest.h>

#include "backends/mps/mps_kernels.hpp"
#include "mps/mps_support.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/matmul_args.hpp"

// What fails in Metal becomes an Error that names the op; the process goes on, and nothing is left behind.

namespace wick::test {
namespace {

class FailuresTest : public OwnMpsTest {
 protected:
  KernelStatus add(const TensorView& a, const TensorView& b, const TensorView& out) {
    return backend().kernels().add(stream(), {.a = a, .b = b, .out = out});
  }
  KernelStatus fill(const TensorView& out, double value) {
    return backend().kernels().fill(stream(), {.out = out, .value = value});
  }
  // After whatever went wrong, work goes on as if nothing had been.
  void expect_works() {
    softmetal::inject({});
    const TensorView x = floats(100, 2);
    const TensorView y = floats(100, 0);
    ASSERT_TRUE(add(x, x, y).is_ok());
    EXPECT_EQ(read(y), std::vector<float>(100, 4));
  }
};

TEST_F(FailuresTest, MemoryThatIsNotThere) {
  softmetal::inject({.buffer_allocation = 1});
  // The allocator gives back what it kept and asks once more.
  EXPECT_EQ(read(floats(10, 1)), std::vector<float>(10, 1));
  softmetal::inject({.device_lost = true});
  const Error error = error_of([&] { backend().allocator().allocate(1 << 20, stream()); });
  EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
  EXPECT_TEXT(error.what(), "mps has no room for 1048576 bytes");
  expect_works();
}

TEST_F(FailuresTest, ACommandBufferThatFailsNamesItsOp) {
  const TensorView x = floats(10, 1);
  stream().synchronize();
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(add(x, x, x).is_ok());
  const Error error = error_of([&] { read(x); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_EQ(error.op(), "add");
  EXPECT_TEXT(error.what(), "the command buffer failed");
  EXPECT_EQ(read(x), std::vector<float>(10, 1)) << "it is told once";
  expect_works();
}

TEST_F(FailuresTest, ACommandBufferOfSeveralNamesFirstAndLast) {
  const TensorView x = floats(10, 1);
  stream().synchronize();
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(fill(x, 1).is_ok());
  ASSERT_TRUE(add(x, x, x).is_ok());
  ASSERT_TRUE(backend().kernels().scale(stream(), {.x = x, .out = x, .factor = 2}).is_ok());
  const Error error = error_of([&] { stream().synchronize(); });
  EXPECT_EQ(error.op(), "scale");
  EXPECT_TEXT(error.what(), "one of 3 kernels from fill to scale failed");
  expect_works();
}

// Found when a later one is committed, kept until somebody waits; the first of two failures counts.
TEST_F(FailuresTest, AFailureIsKeptUntilTheNextWait) {
  const TensorView x = floats(10, 1);
  stream().synchronize();
  auto& own = mps::mps_stream(stream());
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(add(x, x, x).is_ok());
  own.flush();
  softmetal::drain();
  ASSERT_TRUE(fill(x, 5).is_ok());
  own.flush();
  softmetal::drain();
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(fill(x, 6).is_ok());
  own.flush();
  EXPECT_EQ(error_of([&] { stream().synchronize(); }).op(), "add");
  EXPECT_EQ(read(x), std::vector<float>(10, 5));
  expect_works();
}

TEST_F(FailuresTest, AnEventThrowsWhatItsWorkFailedWith) {
  const TensorView x = floats(10, 1);
  stream().synchronize();
  const auto event = backend().make_event();
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(add(x, x, x).is_ok());
  stream().record(*event);
  EXPECT_EQ(error_of([&] { event->synchronize(); }).op(), "add");
  EXPECT_EQ(error_of([&] { stream().synchronize(); }).op(), "add");
  expect_works();
}

TEST_F(FailuresTest, AKernelThatCannotBeMadeNamesItsOp) {
  const TensorView x = floats(10, 1);
  softmetal::inject({.pipeline = 1});
  Error error = error_of([&] { add(x, x, x); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_EQ(error.op(), "add");
  EXPECT_TEXT(error.what(), "the kernel binary of arithmetic.metal cannot be made");
  softmetal::inject({.library = 1});
  error = error_of([&] { fill(x, 1); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_EQ(error.op(), "fill");
  expect_works();
}

TEST_F(FailuresTest, ADeviceThatIsLost) {
  const TensorView x = floats(10, 1);
  ASSERT_TRUE(add(x, x, x).is_ok());
  stream().synchronize();
  softmetal::inject({.device_lost = true});
  ASSERT_TRUE(add(x, x, x).is_ok());
  const Error error = error_of([&] { read(x); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_EQ(error.op(), "add");
  EXPECT_TEXT(error.what(), "the device was removed");
  expect_works();
}

TEST_F(FailuresTest, AProductOfMpsThatFailsNamesItsOp) {
  TensorView a = floats(64 * 64, 1);
  TensorView c = floats(64 * 64, 0);
  for (TensorView* const view : {&a, &c}) {
    view->shape = {1, 64, 64};
    view->strides = {64 * 64, 64, 1};
  }
  stream().synchronize();
  softmetal::inject({.command_buffer = 1});
  ASSERT_TRUE(backend().kernels().matmul(stream(), {.a = a, .b = a, .c = c}).is_ok());
  EXPECT_EQ(error_of([&] { stream().synchronize(); }).op(), "matmul");
  expect_works();
}

}  // namespace
}  // namespace wick::test

#include <gtest/gtest.h>

#include "mps/mps_support.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/cross_entropy.hpp"
#include "wick/ops/embedding.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/runtime/settings.hpp"

// What the backend promises beside its kernels: the order of work, what a wait brings, what a reader is told.

namespace wick::test {
namespace {

using BackendTest = MpsTest;

std::vector<float> same(std::size_t count, float value) { return std::vector<float>(count, value); }

TEST_F(BackendTest, SaysWhatItIs) {
  EXPECT_TEXT(device_description(kMpsDevice), "Software Metal");
  EXPECT_EQ(kernel_variants(kMpsDevice, "matmul"),
            (std::vector<std::string>{"few_rows", "mps_vector", "mps", "tiles", "mps_array"}));
  for (const char* kernel :
       {"softmax", "softmax_backward", "log_softmax", "log_softmax_backward"}) {
    EXPECT_EQ(kernel_variants(kMpsDevice, kernel), (std::vector<std::string>{"rows", "mps"}));
  }
  EXPECT_TRUE(kernel_variants(kMpsDevice, "argmax").empty()) << "MPS promises no order of equals";
}

// A tensor that is dropped leaves its memory to the next; what was enqueued with it still sees the old values. Small
// uploads travel in the command buffer, large ones in memory of their own.
TEST_F(BackendTest, AnUploadComesAfterTheWorkThatIsEnqueued) {
  for (const std::size_t count : {10U, 1024U, 1025U, 100'000U}) {
    Tensor x = numbers(same(count, 1));
    const void* const first = x.impl().get();
    Tensor sum = add(x, x);
    for (int i = 0; i < 8; ++i) sum = add(sum, x);
    x = numbers(same(count, 100));
    EXPECT_NE(first, nullptr);
    EXPECT_EQ(sum.to_vector<float>(), same(count, 10)) << count;
    EXPECT_EQ(x.to_vector<float>(), same(count, 100)) << count;
  }
}

TEST_F(BackendTest, NothingIsCommittedBeforeSomebodyReads) {
  const Tensor x = numbers({1, 2, 3});
  synchronize(kMpsDevice);
  const softmetal::Counters before = softmetal::counters();
  Tensor y = x;
  for (int i = 0; i < 100; ++i) y = add(y, x);
  EXPECT_EQ(softmetal::counters().commits, before.commits);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{101, 202, 303}));
  const softmetal::Counters after = softmetal::counters();
  EXPECT_EQ(after.command_buffers, before.command_buffers + 1);
  EXPECT_EQ(after.compute_encoders, before.compute_encoders + 1);
  EXPECT_EQ(after.commits, before.commits + 1);
  EXPECT_EQ(after.host_waits, before.host_waits + 1);
  EXPECT_EQ(y.to_vector<float>().size(), 3U);
  EXPECT_EQ(softmetal::counters().host_waits, after.host_waits) << "there was nothing to wait for";
}

TEST_F(BackendTest, ProductsOfMpsShareTheCommandBuffer) {
  const Tensor x = Tensor::full({64, 64}, 0.5, DType::kF32, kMpsDevice);
  synchronize(kMpsDevice);
  const softmetal::Counters before = softmetal::counters();
  const Tensor y = add(matmul(add(x, x), x), x);
  EXPECT_EQ(y.to_vector<float>(), same(64 * 64, 32.5F));
  const softmetal::Counters after = softmetal::counters();
  EXPECT_EQ(after.mps_encodes, before.mps_encodes + 1);
  EXPECT_EQ(after.command_buffers, before.command_buffers + 1);
  EXPECT_EQ(after.compute_encoders, before.compute_encoders + 2) << "one before and one after";
}

TEST_F(BackendTest, ManyKernelsAreCommittedInPieces) {
  const Tensor x = numbers({1});
  const softmetal::Counters before = softmetal::counters();
  Tensor y = x;
  for (int i = 0; i < 10'000; ++i) y = add(y, x);
  EXPECT_GE(softmetal::counters().commits, before.commits + 2);
  EXPECT_EQ(y.item<float>(), 10'001);
}

TEST_F(BackendTest, StreamsShareOneQueueAndWaitForEachOther) {
  const Tensor x = Tensor::full({1000}, 1, DType::kF32, kMpsDevice);
  synchronize(kMpsDevice);
  const auto queues = softmetal::counters().queues;
  const auto other = make_stream(kMpsDevice);
  const auto event = make_event(kMpsDevice);
  EXPECT_TRUE(event->is_complete());
  Tensor y;
  {
    const StreamGuard guard(other);
    y = x;
    for (int i = 0; i < 20; ++i) y = add(y, x);
    other->record(*event);
  }
  current_stream(kMpsDevice).wait(*event);
  EXPECT_EQ(add(y, x).to_vector<float>(), same(1000, 22));
  EXPECT_TRUE(event->is_complete());
  event->synchronize();
  other->synchronize();
  EXPECT_EQ(softmetal::counters().queues, queues);
}

// A stream that waits for another's event and reads has what the other wrote.
TEST_F(BackendTest, AReadWaitsForTheEventsOfItsStream) {
  const auto other = make_stream(kMpsDevice);
  const auto event = make_event(kMpsDevice);
  Tensor y;
  {
    const StreamGuard guard(other);
    y = Tensor::full({100'000}, 3, DType::kF32, kMpsDevice);
    other->record(*event);
  }
  current_stream(kMpsDevice).wait(*event);
  EXPECT_EQ(y.to_vector<float>(), same(100'000, 3));
}

// ---- indices that only the device sees

TEST_F(BackendTest, AnIdOutOfRangeIsAnErrorAtTheNextWait) {
  const Tensor weight = Tensor::full({5, 2}, 1, DType::kF32, kMpsDevice);
  const Tensor ids = Tensor::from_values(std::vector<std::int32_t>{0, 7, -3, 4}, {4}, kMpsDevice);
  const Tensor rows = embedding(weight, ids);
  const Error error = error_of([&] { rows.to_vector<float>(); });
  EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(error.what(), "embedding: ids[");
  EXPECT_TEXT(error.what(), "outside [0,5)");
  EXPECT_EQ(rows.to_vector<float>(), (std::vector<float>{1, 1, 0, 0, 0, 0, 1, 1}))
      << "it is told once, and the rows are zeros";
}

TEST_F(BackendTest, ATargetOutOfRangeIsAnErrorAtTheNextWait) {
  const Tensor logits = Tensor::full({2, 3}, 1, DType::kF32, kMpsDevice);
  const Tensor targets = Tensor::from_values(std::vector<std::int32_t>{1, 3}, {2}, kMpsDevice);
  const Error error = error_of([&] { cross_entropy(logits, targets).item<float>(); });
  EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(error.what(), "cross_entropy: targets[1] is 3, outside [0,3)");
}

}  // namespace
}  // namespace wick::test

#include "apple/mps/mps_messages.hpp"
#include "apple/mps_test_support.hpp"

// MPSCommandBuffer: work that is committed piece by piece.

namespace wick::test {
namespace {

class MpsCommandBufferTest : public MpsTest {};

TEST_F(MpsCommandBufferTest, WorkGoesOnAfterACommit) {
  const mps::Matrix a = make(random(3, 3, 1)), b = make(random(3, 3, 2));
  const mps::Matrix c = make_empty({.rows = 3, .columns = 3}),
                    d = make_empty({.rows = 3, .columns = 3});
  const mps::MatrixMultiplication product(device(), 3, 3, 3);
  const mps::MatrixDescriptor square({.rows = 3, .columns = 3});
  const metal::CommandQueue queue = device().queue();
  const softmetal::Counters before = softmetal::counters();
  {
    mps::CommandBuffer buffer(queue);
    const mps::TemporaryMatrix between(buffer.work(), square, 2);
    product.encode(buffer.work(), a, b, between);
    buffer.commit_and_continue();
    // What was written before the commit is still there.
    product.encode(buffer.work(), between, b, c);
    buffer.commit_and_continue();
    product.encode(buffer.work(), between, b, d);
    const metal::Buffer bytes = device().buffer(8);
    buffer.work().blit_encoder().fill(bytes, 0, 8, 1);
    buffer.commit();
    buffer.wait();
    EXPECT_EQ(download<std::uint8_t>(bytes, 8)[7], 1);
  }
  EXPECT_EQ(softmetal::counters().command_buffers - before.command_buffers, 3u);
  EXPECT_EQ(softmetal::counters().commits - before.commits, 3u);
  EXPECT_EQ(values_of(c), values_of(d));
  EXPECT_FALSE(std::isnan(values_of(c)[0]));
}

TEST_F(MpsCommandBufferTest, WaitThrowsForTheFirstPieceThatFailed) {
  const metal::CommandQueue queue = device().queue();
  const metal::Buffer bytes = device().buffer(4);
  for (int failing = 1; failing <= 2; ++failing) {
    softmetal::inject({.command_buffer = failing});
    mps::CommandBuffer buffer(queue);
    buffer.work().blit_encoder().fill(bytes, 0, 4, 1);
    buffer.commit_and_continue();
    buffer.work().blit_encoder().fill(bytes, 0, 4, 2);
    buffer.commit();
    const Error error = error_of([&] { buffer.wait(); });
    EXPECT_EQ(error.kind(), ErrorKind::kBackend);
    EXPECT_TEXT(error.what(), failing == 1 ? "a piece of the command buffer failed" : "injected");
  }
}

TEST_F(MpsCommandBufferTest, ACommitNeedsAnEndedEncoderAndComesOnce) {
  const metal::CommandQueue queue = device().queue();
  mps::CommandBuffer buffer(queue);
  expect_refused(error_of([&] { buffer.wait(); }), "metal.wait", "not committed");
  {
    const metal::BlitEncoder open = buffer.work().blit_encoder();
    expect_refused(error_of([&] { buffer.commit_and_continue(); }), "mps.commit_and_continue",
                   "is open");
    EXPECT_TEXT(fault_of([&] {
                  apple::mps::messages::commit_and_continue(
                      static_cast<apple::objc::MPSCommandBuffer*>(buffer.work().object().get()));
                }),
                "already encoding");
  }
  buffer.commit();
  expect_refused(error_of([&] { buffer.commit_and_continue(); }), "mps.commit_and_continue",
                 "committed already");
  EXPECT_TEXT(fault_of([&] {
                apple::mps::messages::commit_and_continue(
                    static_cast<apple::objc::MPSCommandBuffer*>(buffer.work().object().get()));
              }),
              "committed already");
  expect_refused(error_of([&] { buffer.commit(); }), "metal.commit", "committed already");
  buffer.wait();
}

}  // namespace
}  // namespace wick::test

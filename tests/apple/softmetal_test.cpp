#include <gtest/gtest.h>

#include <string>

#include "apple/apple_test_support.hpp"
#include "apple/metal/metal_messages.hpp"

// Metal's refusals by raw messages: what the checks of wick::apple::metal keep callers away from.

namespace wick::test {
namespace {

using namespace apple;
using namespace apple::objc;
namespace m = apple::metal::messages;

class SoftmetalTest : public AppleTest {
 protected:
  MTLDevice* raw() const { return device().object().get(); }
};

TEST_F(SoftmetalTest, BuffersHaveLengthStorageAndPoison) {
  const auto buffer = m::new_buffer(raw(), 64, 0);
  EXPECT_EQ(m::buffer_length(buffer.get()), 64u);
  const auto* bytes = static_cast<const unsigned char*>(m::buffer_contents(buffer.get()));
  for (int i = 0; i < 64; ++i) ASSERT_EQ(bytes[i], 0xFF) << "fresh memory must not look like data";
  EXPECT_TEXT(fault_of([&] { m::new_buffer(raw(), 0, 0); }), "length 0");
  EXPECT_TEXT(fault_of([&] { m::new_buffer(raw(), std::uint64_t{1} << 40, 0); }),
              "maxBufferLength");
  EXPECT_TEXT(fault_of([&] { m::new_buffer(raw(), 64, 1 << 4); }), "storage mode 1");
  const auto hidden = m::new_buffer(raw(), 64, 2 << 4);
  EXPECT_TEXT(fault_of([&] { m::buffer_contents(hidden.get()); }), "private");
  int on_stack = 0;
  EXPECT_TEXT(fault_of([&] { m::new_buffer_no_copy(raw(), &on_stack, 16384, 0, {}); }),
              "page size");
}

TEST_F(SoftmetalTest, ACommandBufferIsCommittedOnce) {
  const AutoreleaseScope scope;
  const auto queue = m::new_queue(raw(), 4);
  MTLCommandBuffer* const buffer = m::command_buffer(queue.get());
  EXPECT_EQ(m::buffer_status(buffer), 0u);
  EXPECT_TEXT(fault_of([&] { m::wait_until_completed(buffer); }), "for ever");
  m::commit(buffer);
  EXPECT_TEXT(fault_of([&] { m::commit(buffer); }), "-[SoftmetalCommandBuffer commit]");
  EXPECT_TEXT(fault_of([&] { m::blit_encoder(buffer); }), "committed already");
  EXPECT_TEXT(fault_of([&] { m::add_completed_handler(buffer, {}); }), "after commit");
  m::wait_until_completed(buffer);
  EXPECT_EQ(m::buffer_status(buffer), 4u);
  EXPECT_EQ(m::buffer_error(buffer), nullptr);
  EXPECT_GE(m::gpu_end_time(buffer), m::gpu_start_time(buffer));
}

TEST_F(SoftmetalTest, OneEncoderIsOpenAtATime) {
  const AutoreleaseScope scope;
  const auto queue = m::new_queue(raw(), 4);
  MTLCommandBuffer* const buffer = m::command_buffer(queue.get());
  MTLBlitCommandEncoder* const encoder = m::blit_encoder(buffer);
  EXPECT_TEXT(fault_of([&] { m::compute_encoder(buffer, 0); }),
              "already encoding to this command buffer");
  EXPECT_TEXT(fault_of([&] { m::commit(buffer); }), "open encoder");
  const auto event = m::new_shared_event(raw());
  EXPECT_TEXT(fault_of([&] { m::encode_wait(buffer, event.get(), 1); }), "already encoding");
  m::end_encoding(encoder);
  EXPECT_TEXT(fault_of([&] { m::end_encoding(encoder); }), "ended");
  m::commit(buffer);
  m::wait_until_completed(buffer);
}

TEST_F(SoftmetalTest, AnEncoderThatIsNeverEndedIsFound) {
  {
    const AutoreleaseScope scope;
    const auto queue = m::new_queue(raw(), 4);
    m::blit_encoder(m::command_buffer(queue.get()));
  }
  const auto late = softmetal::late_faults();
  ASSERT_EQ(late.size(), 1u);
  EXPECT_TEXT(late[0], "released without endEncoding");
}

TEST_F(SoftmetalTest, AFullQueueOfBuffersThatNobodyCommitsIsFound) {
  const AutoreleaseScope scope;
  const auto queue = m::new_queue(raw(), 2);
  m::command_buffer(queue.get());
  m::command_buffer(queue.get());
  EXPECT_TEXT(fault_of([&] { m::command_buffer(queue.get()); }),
              "all were made and none committed");
}

TEST_F(SoftmetalTest, BlitsKeepMetalsRules) {
  const AutoreleaseScope scope;
  const auto queue = m::new_queue(raw(), 4);
  const auto a = m::new_buffer(raw(), 16, 0), b = m::new_buffer(raw(), 16, 0);
  MTLCommandBuffer* const buffer = m::command_buffer(queue.get());
  MTLBlitCommandEncoder* const blit = m::blit_encoder(buffer);
  EXPECT_TEXT(fault_of([&] { m::copy_buffer(blit, a.get(), 2, b.get(), 0, 4); }), "multiples of 4");
  EXPECT_TEXT(fault_of([&] { m::copy_buffer(blit, a.get(), 8, b.get(), 0, 12); }),
              "beyond a buffer of 16");
  EXPECT_TEXT(fault_of([&] { m::copy_buffer(blit, a.get(), 0, a.get(), 4, 8); }), "overlap");
  EXPECT_TEXT(fault_of([&] { m::fill_buffer(blit, a.get(), {8, 9}, 0); }), "beyond a buffer of 16");
  m::end_encoding(blit);
  EXPECT_TEXT(fault_of([&] { m::fill_buffer(blit, a.get(), {0, 4}, 0); }), "ended");
}

TEST_F(SoftmetalTest, ComputeEncodersKeepMetalsLimits) {
  const AutoreleaseScope scope;
  const auto queue = m::new_queue(raw(), 4);
  const auto a = m::new_buffer(raw(), 16, 0);
  MTLComputeCommandEncoder* const encoder = m::compute_encoder(m::command_buffer(queue.get()), 0);
  std::vector<std::byte> bytes(5000);
  EXPECT_TEXT(fault_of([&] { m::set_bytes(encoder, bytes.data(), 4097, 0); }), "must be <= 4096");
  EXPECT_TEXT(fault_of([&] { m::set_buffer(encoder, a.get(), 16, 0); }), "beyond a buffer of 16");
  EXPECT_TEXT(fault_of([&] { m::set_buffer(encoder, a.get(), 0, 31); }), "above 30");
  EXPECT_TEXT(fault_of([&] { m::set_threadgroup_memory(encoder, 24, 0); }), "multiple of 16");
  EXPECT_TEXT(fault_of([&] { m::dispatch_threadgroups(encoder, {1, 1, 1}, {1, 1, 1}); }),
              "without a pipeline");
  m::end_encoding(encoder);
}

TEST_F(SoftmetalTest, AnArgumentOfTheWrongClassIsNamed) {
  const auto buffer = m::new_buffer(raw(), 16, 0);
  const std::string said = fault_of([&] {
    apple::objc::detail::send<Object*, Object*, Object**>(
        raw(), register_selector("newComputePipelineStateWithFunction:error:"), buffer.get(),
        nullptr);
  });
  EXPECT_TEXT(said, "wrong class");
}

}  // namespace
}  // namespace wick::test

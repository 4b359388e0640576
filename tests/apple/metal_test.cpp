#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "apple/apple_test_support.hpp"

namespace wick::test {
namespace {

using namespace apple::metal;
using apple::Ref;

class MetalTest : public AppleTest {};

void expect_argument(const Error& error, std::string_view op, std::string_view part) {
  EXPECT_EQ(error.kind(), ErrorKind::kArgument) << error.what();
  EXPECT_EQ(error.op(), op);
  EXPECT_TEXT(error.what(), part);
}

TEST_F(MetalTest, TheDeviceTellsWhatItIs) {
  EXPECT_EQ(device().name(), "Software Metal");
  EXPECT_TRUE(device().has_unified_memory());
  EXPECT_TRUE(device().supports_family(1007));
  EXPECT_FALSE(device().supports_family(1010));
  EXPECT_EQ(device().max_threadgroup_memory(), 32768u);
  EXPECT_TRUE(device().supports_mps());
  EXPECT_GT(device().recommended_working_set(), 0u);
  const std::size_t before = device().allocated_bytes();
  const Buffer buffer = device().buffer(1000);
  EXPECT_EQ(device().allocated_bytes(), before + 1000);
}

TEST_F(MetalTest, ABlitCopiesBetweenPrivateAndSharedMemory) {
  const CommandQueue queue = device().queue();
  const Buffer source = upload<float>({1, 2, 3, 4}), result = device().buffer(16);
  const Buffer hidden = device().buffer(16, StorageMode::kPrivate);
  EXPECT_EQ(hidden.storage_mode(), StorageMode::kPrivate);
  expect_argument(error_of([&] { hidden.contents(); }), "metal.contents", "16 bytes");
  CommandBuffer work = queue.command_buffer();
  {
    BlitEncoder blit = work.blit_encoder();
    blit.copy(source, 0, hidden, 0, 16);
    blit.copy(hidden, 4, result, 0, 12);
    blit.fill(result, 12, 4, 0);
  }
  EXPECT_EQ(work.status(), CommandBufferStatus::kNotEnqueued);
  EXPECT_EQ(work.gpu_seconds(), 0);
  work.commit();
  work.wait();
  EXPECT_EQ(work.status(), CommandBufferStatus::kCompleted);
  EXPECT_EQ(download<float>(result, 4), (std::vector<float>{2, 3, 4, 0}));
  EXPECT_GE(work.gpu_seconds(), 0);
}

TEST_F(MetalTest, BuffersOfAQueueRunInTheOrderOfTheirEnqueueing) {
  const CommandQueue queue = device().queue();
  const Buffer buffer = device().buffer(4);
  CommandBuffer first = queue.command_buffer(), second = queue.command_buffer();
  first.enqueue();
  second.blit_encoder().fill(buffer, 0, 4, 2);
  first.blit_encoder().fill(buffer, 0, 4, 1);
  second.commit();
  first.commit();
  second.wait();
  first.wait();
  EXPECT_EQ(download<std::uint8_t>(buffer, 1)[0], 2);
}

TEST_F(MetalTest, EventsOrderQueuesAndWakeTheHost) {
  const CommandQueue one = device().queue(), other = device().queue();
  SharedEvent event = device().shared_event();
  const Buffer buffer = device().buffer(4), copy = device().buffer(4);
  CommandBuffer consumer = other.command_buffer();
  consumer.wait_for(event, 3);
  consumer.blit_encoder().copy(buffer, 0, copy, 0, 4);
  consumer.signal(event, 4);
  consumer.commit();
  EXPECT_FALSE(event.wait(4, std::chrono::milliseconds(5)));
  CommandBuffer producer = one.command_buffer();
  producer.blit_encoder().fill(buffer, 0, 4, 9);
  producer.signal(event, 3);
  producer.commit();
  EXPECT_TRUE(event.wait(4, std::chrono::seconds(30)));
  consumer.wait();
  EXPECT_EQ(download<std::uint8_t>(copy, 1)[0], 9);
  EXPECT_EQ(event.value(), 4u);
  event.signal(10);
  EXPECT_EQ(event.value(), 10u);
  expect_argument(error_of([&] { event.signal(9); }), "metal.signal", "it is 10, got 9");
}

TEST_F(MetalTest, HandlersRunBeforeTheWaitReturns) {
  const CommandQueue queue = device().queue();
  std::atomic<int> called{0};
  CommandBuffer work = queue.command_buffer();
  work.on_completed([&](CommandBufferStatus status) {
    called += status == CommandBufferStatus::kCompleted ? 1 : 100;
  });
  work.commit();
  work.wait();
  EXPECT_EQ(called, 1);
  expect_argument(error_of([&] { work.on_completed([](CommandBufferStatus) {}); }),
                  "metal.on_completed", "committed already");
}

TEST_F(MetalTest, ACommandBufferRefusesWhatItsStateForbids) {
  const CommandQueue queue = device().queue();
  CommandBuffer work = queue.command_buffer();
  expect_argument(error_of([&] { work.wait(); }), "metal.wait", "not committed");
  {
    ComputeEncoder encoder = work.compute_encoder();
    expect_argument(error_of([&] { work.blit_encoder(); }), "metal.blit_encoder", "is open");
    expect_argument(error_of([&] { work.commit(); }), "metal.commit", "is open");
    expect_argument(error_of([&] { work.on_completed([](CommandBufferStatus) {}); }),
                    "metal.on_completed", "is open");
    encoder.end();
    expect_argument(error_of([&] { encoder.end(); }), "metal.end", "was ended");
    expect_argument(error_of([&] { encoder.barrier(); }), "metal.barrier", "was ended");
  }
  work.commit();
  expect_argument(error_of([&] { work.commit(); }), "metal.commit", "committed already");
  expect_argument(error_of([&] { work.compute_encoder(); }), "metal.compute_encoder",
                  "committed already");
  work.wait();
  const CommandBuffer taken = std::move(work);
  expect_argument(error_of([&] { work.wait(); }), "metal.wait", "moved from");
}

TEST_F(MetalTest, AnEncoderThatOutlivesAnExceptionIsEnded) {
  const CommandQueue queue = device().queue();
  const Buffer small = device().buffer(4);
  CommandBuffer work = queue.command_buffer();
  EXPECT_THROW(work.blit_encoder().fill(small, 0, 8, 0), Error);
  work.commit();
  work.wait();
}

TEST_F(MetalTest, SizesAreRefusedWithTheirNumbers) {
  expect_argument(error_of([&] { device().buffer(0); }), "metal.buffer", "must not be 0");
  expect_argument(error_of([&] { device().buffer(std::size_t{1} << 50); }), "metal.buffer",
                  "1125899906842624");
  expect_argument(error_of([&] { device().queue(0); }), "metal.queue", "got 0");
  const CommandQueue queue = device().queue();
  const Buffer buffer = device().buffer(16), other = device().buffer(16);
  CommandBuffer work = queue.command_buffer();
  {
    BlitEncoder blit = work.blit_encoder();
    expect_argument(error_of([&] { blit.fill(buffer, 12, 8, 0); }), "metal.fill",
                    "offset 12 and 8 bytes");
    expect_argument(error_of([&] { blit.fill(buffer, 0, 0, 0); }), "metal.fill", "must not be 0");
    expect_argument(error_of([&] { blit.copy(buffer, 0, other, 1, 4); }), "metal.copy",
                    "multiples of 4");
    expect_argument(error_of([&] { blit.copy(buffer, 0, other, 16, 4); }), "metal.copy",
                    "the destination");
    expect_argument(error_of([&] { blit.copy(buffer, 0, buffer, 4, 8); }), "metal.copy", "overlap");
  }
  ComputeEncoder encoder = work.compute_encoder();
  const std::vector<std::byte> bytes(4097);
  expect_argument(error_of([&] { encoder.set_bytes(bytes, 0); }), "metal.set_bytes", "4097");
  expect_argument(error_of([&] { encoder.set_bytes({}, 0); }), "metal.set_bytes", "got 0");
  expect_argument(error_of([&] { encoder.set_buffer(buffer, 16, 0); }), "metal.set_buffer",
                  "got 16");
  expect_argument(error_of([&] { encoder.set_buffer(buffer, 0, 31); }), "metal.set_buffer",
                  "got 31");
  expect_argument(error_of([&] { encoder.set_threadgroup_memory(24, 0); }),
                  "metal.set_threadgroup_memory", "24");
  expect_argument(error_of([&] { encoder.dispatch_threads({1}, {1}); }), "metal.dispatch_threads",
                  "no pipeline");
}

TEST_F(MetalTest, MemoryOfTheCallerIsUsedInPlaceAndGivenBack) {
  void* memory = std::aligned_alloc(page_size(), 2 * page_size());
  std::memset(memory, 5, 2 * page_size());
  bool released = false;
  {
    const std::span<std::byte> bytes(static_cast<std::byte*>(memory), 2 * page_size());
    const Buffer wrapped = device().wrap_memory(bytes, [&] { released = true; });
    EXPECT_EQ(wrapped.contents(), bytes.data());
    const CommandQueue queue = device().queue();
    CommandBuffer work = queue.command_buffer();
    work.blit_encoder().fill(wrapped, page_size(), 4, 7);
    work.commit();
    work.wait();
    EXPECT_EQ(bytes[page_size()], std::byte{7});
    EXPECT_EQ(bytes[0], std::byte{5});
    expect_argument(error_of([&] { device().wrap_memory(bytes.subspan(16, page_size())); }),
                    "metal.wrap_memory", "page size");
    expect_argument(error_of([&] { device().wrap_memory(bytes.first(100)); }), "metal.wrap_memory",
                    "length of 100");
  }
  softmetal::drain();
  EXPECT_TRUE(released);
  std::free(memory);
}

TEST_F(MetalTest, InjectedFailuresBecomeErrorsAndTheProcessGoesOn) {
  const CommandQueue queue = device().queue();
  softmetal::inject({.buffer_allocation = 2});
  const Buffer first = device().buffer(16);
  EXPECT_EQ(error_of([&] { device().buffer(16); }).kind(), ErrorKind::kOutOfMemory);
  softmetal::inject({.command_buffer = 1});
  CommandBuffer work = queue.command_buffer();
  work.blit_encoder().fill(first, 0, 16, 1);
  work.commit();
  const Error failed = error_of([&] { work.wait(); });
  EXPECT_EQ(failed.kind(), ErrorKind::kBackend);
  EXPECT_TEXT(failed.what(), "MTLCommandBufferErrorDomain 1");
  EXPECT_EQ(download<std::uint8_t>(first, 1)[0], 0xFF) << "a failed buffer must have done nothing";
  softmetal::inject({.device_lost = true});
  CommandBuffer lost = queue.command_buffer();
  lost.commit();
  EXPECT_TEXT(error_of([&] { lost.wait(); }).what(), "removed");
  softmetal::inject({});
  CommandBuffer good = queue.command_buffer();
  good.blit_encoder().fill(first, 0, 16, 1);
  good.commit();
  good.wait();
  EXPECT_EQ(download<std::uint8_t>(first, 1)[0], 1);
}

TEST_F(MetalTest, CountersCountAndAQueueHoldsManyBuffers) {
  const softmetal::Counters before = softmetal::counters();
  {
    const CommandQueue queue = device().queue(3);
    const Buffer buffer = device().buffer(4);
    // More than the queue has room for: making one waits for an older one to end.
    for (int i = 0; i < 20; ++i) {
      CommandBuffer work = queue.command_buffer();
      work.blit_encoder().fill(buffer, 0, 4, static_cast<std::uint8_t>(i));
      work.commit();
      if (i == 19) work.wait();
    }
    EXPECT_EQ(download<std::uint8_t>(buffer, 1)[0], 19);
  }
  const softmetal::Counters after = softmetal::counters();
  EXPECT_EQ(after.queues - before.queues, 1u);
  EXPECT_EQ(after.command_buffers - before.command_buffers, 20u);
  EXPECT_EQ(after.commits - before.commits, 20u);
  EXPECT_EQ(after.blit_encoders - before.blit_encoders, 20u);
  EXPECT_EQ(after.host_waits - before.host_waits, 1u);
}

TEST_F(MetalTest, ManyThreadsShareADeviceAndAQueue) {
  const CommandQueue queue = device().queue();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const Buffer buffer = device().buffer(256);
      for (int i = 0; i < 50; ++i) {
        CommandBuffer work = queue.command_buffer();
        work.blit_encoder().fill(buffer, 0, 256, static_cast<std::uint8_t>(t + i));
        work.commit();
        work.wait();
        ASSERT_EQ(download<std::uint8_t>(buffer, 256)[255], t + i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace wick::test

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "apple/apple_test_support.hpp"
#include "apple/metal/metal_messages.hpp"
#include "apple/objc/block.hpp"
#include "apple/objc/foundation.hpp"

// Rules of Metal, each twice: the checked call is an Error with the numbers, and raw messages of the same operands come to
// where Metal ends the process. What states of command buffers and encoders forbid, beside what metal_test has; and what
// only raw messages can say, since no call of ours does.

namespace wick::test {
namespace {

using namespace apple::metal;
using namespace apple::objc;
using apple::AutoreleaseScope;
namespace m = apple::metal::messages;

constexpr Message<MTLComputeCommandEncoder, '-',
                  "setBufferOffset:atIndex:", void(UInteger, UInteger)>
    set_buffer_offset;

constexpr const char* kSource = R"(#include <metal_stdlib>
using namespace metal;
kernel void one(device int* x [[buffer(0)]]) { x[0] = 1; }
kernel void two(device int* x [[buffer(0)]], threadgroup int* a [[threadgroup(0)]],
                threadgroup int* b [[threadgroup(1)]]) { a[0] = b[0] = 1; x[0] = a[0] + b[0]; }
)";

class MetalRulesTest : public AppleTest {
 protected:
  MTLDevice* raw() const { return device().object().get(); }

  template <class Checked, class Raw>
  static void expect_both(std::string_view op, Checked checked, std::string_view part, Raw raw,
                          std::string_view said) {
    const Error error = error_of(checked);
    EXPECT_EQ(error.kind(), ErrorKind::kArgument) << error.what();
    EXPECT_EQ(error.op(), op);
    EXPECT_TEXT(error.what(), part);
    EXPECT_TEXT(fault_of(raw), said);
  }
};

TEST_F(MetalRulesTest, LengthsOfBuffers) {
  const auto refused = [&](std::size_t length, std::string_view part, std::string_view said) {
    expect_both(
        "metal.buffer", [&] { device().buffer(length); }, part,
        [&] { m::new_buffer(raw(), length, 0); }, said);
  };
  refused(0, "must not be 0", "a buffer of length 0");
  refused(std::size_t{1} << 50, "got 1125899906842624", "above maxBufferLength");
  std::byte none{};
  expect_both(
      "metal.buffer", [&] { device().buffer(std::span<const std::byte>()); }, "must not be 0",
      [&] { m::new_buffer_with_bytes(raw(), &none, 0, 0); }, "a buffer of length 0");
  const Buffer hidden = device().buffer(16, StorageMode::kPrivate);
  expect_both(
      "metal.contents", [&] { hidden.contents(); }, "16 bytes cannot be read by the CPU",
      [&] { m::buffer_contents(hidden.object().get()); }, "the CPU cannot read it");
  expect_both(
      "metal.queue", [&] { device().queue(0); }, "at least 1 command buffer; got 0",
      [&] { m::new_queue(raw(), 0); }, "a queue of no command buffers");
  EXPECT_TEXT(fault_of([&] { m::new_buffer_with_bytes(raw(), nullptr, 16, 0); }),
              "may not be NULL");
  EXPECT_TEXT(fault_of([&] { m::new_buffer(raw(), 16, 1 << 12); }),
              "unknown resource options 4096");
}

TEST_F(MetalRulesTest, MemoryOfTheCallerIsOfWholePages) {
  const std::unique_ptr<void, void (*)(void*)> memory(
      std::aligned_alloc(page_size(), 2 * page_size()), &std::free);
  const std::span<std::byte> bytes(static_cast<std::byte*>(memory.get()), 2 * page_size());
  const auto refused = [&](std::span<std::byte> part_of, std::string_view part,
                           std::string_view said) {
    expect_both(
        "metal.wrap_memory", [&] { device().wrap_memory(part_of); }, part,
        [&] { m::new_buffer_no_copy(raw(), part_of.data(), part_of.size(), 0, {}); }, said);
  };
  refused(bytes.first(0), "must not be 0", "length 0");
  refused(bytes.first(100), "got a length of 100", "the length 100 must be a multiple of the page");
  refused(bytes.subspan(16, page_size()), "multiples of the page size 16384",
          "the pointer must be a multiple of the page size 16384");
  constexpr std::uint64_t kPrivate = 2 << 4;
  EXPECT_TEXT(
      fault_of([&] { m::new_buffer_no_copy(raw(), bytes.data(), bytes.size(), kPrivate, {}); }),
      "cannot be private");
}

TEST_F(MetalRulesTest, FunctionConstants) {
  FunctionConstants().set(65535, true);
  const auto constants = make<MTLFunctionConstantValues>(m::init_constants);
  const int value = 1;
  constexpr UInteger kInt = 29, kStruct = 1;
  expect_both(
      "metal.function_constant", [] { FunctionConstants().set(65536, 1); },
      "at most 65535; got 65536", [&] { m::set_constant(constants.get(), &value, kInt, 65536); },
      "65536 is above 65535");
  EXPECT_TEXT(fault_of([&] { m::set_constant(constants.get(), nullptr, kInt, 0); }),
              "may not be NULL");
  EXPECT_TEXT(fault_of([&] { m::set_constant(constants.get(), &value, kStruct, 0); }),
              "MTLDataType 1 is not known");
}

TEST_F(MetalRulesTest, NothingIsAskedOfACommittedBuffer) {
  const AutoreleaseScope scope;
  CommandBuffer work = device().queue().command_buffer();
  SharedEvent event = device().shared_event();
  work.commit();
  const auto object = work.object().get();
  const auto refused = [&](std::string_view op, auto checked, auto raw_call,
                           std::string_view said) {
    expect_both(op, checked, "committed already", raw_call, said);
  };
  refused("metal.commit", [&] { work.commit(); }, [&] { m::commit(object); }, "committed already");
  refused(
      "metal.enqueue", [&] { work.enqueue(); }, [&] { m::enqueue(object); }, "committed already");
  refused(
      "metal.compute_encoder", [&] { work.compute_encoder(); },
      [&] { m::compute_encoder(object, 0); }, "committed already");
  refused(
      "metal.blit_encoder", [&] { work.blit_encoder(); }, [&] { m::blit_encoder(object); },
      "committed already");
  refused(
      "metal.signal", [&] { work.signal(event, 1); },
      [&] { m::encode_signal(object, event.object().get(), 1); }, "committed already");
  refused(
      "metal.wait_for", [&] { work.wait_for(event, 1); },
      [&] { m::encode_wait(object, event.object().get(), 1); }, "committed already");
  refused(
      "metal.on_completed", [&] { work.on_completed([](CommandBufferStatus) {}); },
      [&] { m::add_completed_handler(object, {}); }, "after commit");
  work.wait();
}

TEST_F(MetalRulesTest, NothingElseIsEncodedWhileAnEncoderIsOpen) {
  const AutoreleaseScope scope;
  CommandBuffer work = device().queue().command_buffer();
  SharedEvent event = device().shared_event();
  expect_both(
      "metal.wait", [&] { work.wait(); }, "is not committed",
      [&] { m::wait_until_completed(work.object().get()); }, "was not committed");
  const BlitEncoder open = work.blit_encoder();
  const auto object = work.object().get();
  const auto refused = [&](std::string_view op, auto checked, auto raw_call,
                           std::string_view said) {
    expect_both(op, checked, "an encoder of the command buffer is open", raw_call, said);
  };
  refused(
      "metal.commit", [&] { work.commit(); }, [&] { m::commit(object); }, "with an open encoder");
  refused(
      "metal.compute_encoder", [&] { work.compute_encoder(); },
      [&] { m::compute_encoder(object, 0); }, "already encoding");
  refused(
      "metal.blit_encoder", [&] { work.blit_encoder(); }, [&] { m::blit_encoder(object); },
      "already encoding");
  refused(
      "metal.signal", [&] { work.signal(event, 1); },
      [&] { m::encode_signal(object, event.object().get(), 1); }, "already encoding");
  refused(
      "metal.wait_for", [&] { work.wait_for(event, 1); },
      [&] { m::encode_wait(object, event.object().get(), 1); }, "already encoding");
}

// The rule is ours: Metal would see no object at all.
TEST_F(MetalRulesTest, ABufferThatWasMovedFromIsAnError) {
  CommandBuffer work = device().queue().command_buffer();
  const CommandBuffer taken = std::move(work);
  const auto refused = [&](std::string_view op, auto call) {
    const Error error = error_of(call);
    EXPECT_EQ(error.op(), op);
    EXPECT_TEXT(error.what(), "was moved from");
  };
  refused("metal.commit", [&] { work.commit(); });
  refused("metal.wait", [&] { work.wait(); });
  refused("metal.status", [&] { work.status(); });
  refused("metal.gpu_seconds", [&] { work.gpu_seconds(); });
  refused("metal.set_label", [&] { work.set_label("gone"); });
  refused("metal.compute_encoder", [&] { work.compute_encoder(); });
}

TEST_F(MetalRulesTest, AHandlerDoesNotWait) {
  const AutoreleaseScope scope;
  const CommandQueue queue = device().queue();
  std::string refused, said;
  CommandBuffer checked = queue.command_buffer();
  checked.on_completed(
      [&](CommandBufferStatus) { refused = error_of([&] { checked.wait(); }).what(); });
  checked.commit();
  checked.wait();
  EXPECT_TEXT(refused, "metal.wait: a handler must not wait");
  CommandBuffer other = queue.command_buffer();
  const Block<void(MTLCommandBuffer*)> block([&](MTLCommandBuffer* ended) noexcept {
    said = fault_of([&] { m::wait_until_completed(ended); });
  });
  m::add_completed_handler(other.object().get(), block.pointer());
  other.commit();
  other.wait();
  EXPECT_TEXT(said, "inside of a handler");
}

TEST_F(MetalRulesTest, AnEncoderThatWasEndedTakesNothing) {
  const AutoreleaseScope scope;
  const Library library = device().library(kSource);
  const ComputePipeline kernel = device().pipeline(library.function("one"));
  const Buffer buffer = device().buffer(16), other = device().buffer(16);
  const std::vector<std::byte> bytes(4);
  CommandBuffer work = device().queue().command_buffer();
  ComputeEncoder compute = work.compute_encoder();
  compute.set_pipeline(kernel);
  compute.end();
  BlitEncoder blit = work.blit_encoder();
  blit.end();
  const auto queue = m::new_queue(raw(), 4);
  MTLCommandBuffer* const object = m::command_buffer(queue.get());
  MTLComputeCommandEncoder* const raw_compute = m::compute_encoder(object, 0);
  m::end_encoding(raw_compute);
  MTLBlitCommandEncoder* const raw_blit = m::blit_encoder(object);
  m::end_encoding(raw_blit);
  const auto refused = [&](std::string_view op, auto checked, auto raw_call) {
    expect_both(op, checked, "the encoder was ended", raw_call, "the encoder was ended");
  };
  refused(
      "metal.set_pipeline", [&] { compute.set_pipeline(kernel); },
      [&] { m::set_pipeline(raw_compute, kernel.object().get()); });
  refused(
      "metal.set_buffer", [&] { compute.set_buffer(buffer, 0, 0); },
      [&] { m::set_buffer(raw_compute, buffer.object().get(), 0, 0); });
  refused(
      "metal.set_bytes", [&] { compute.set_bytes(bytes, 0); },
      [&] { m::set_bytes(raw_compute, bytes.data(), bytes.size(), 0); });
  refused(
      "metal.set_threadgroup_memory", [&] { compute.set_threadgroup_memory(16, 0); },
      [&] { m::set_threadgroup_memory(raw_compute, 16, 0); });
  refused(
      "metal.dispatch_threadgroups", [&] { compute.dispatch_threadgroups({1}, {1}); },
      [&] { m::dispatch_threadgroups(raw_compute, {1, 1, 1}, {1, 1, 1}); });
  refused(
      "metal.dispatch_threads", [&] { compute.dispatch_threads({1}, {1}); },
      [&] { m::dispatch_threads(raw_compute, {1, 1, 1}, {1, 1, 1}); });
  refused("metal.barrier", [&] { compute.barrier(); }, [&] { m::memory_barrier(raw_compute, 1); });
  refused("metal.end", [&] { compute.end(); }, [&] { m::end_encoding(raw_compute); });
  refused(
      "metal.fill", [&] { blit.fill(buffer, 0, 4, 0); },
      [&] { m::fill_buffer(raw_blit, buffer.object().get(), {0, 4}, 0); });
  refused(
      "metal.copy", [&] { blit.copy(buffer, 0, other, 0, 4); },
      [&] { m::copy_buffer(raw_blit, buffer.object().get(), 0, other.object().get(), 0, 4); });
  refused("metal.end", [&] { blit.end(); }, [&] { m::end_encoding(raw_blit); });
}

TEST_F(MetalRulesTest, Blits) {
  const AutoreleaseScope scope;
  const Buffer a = device().buffer(16), b = device().buffer(16);
  CommandBuffer work = device().queue().command_buffer();
  BlitEncoder checked = work.blit_encoder();
  const auto queue = m::new_queue(raw(), 4);
  MTLBlitCommandEncoder* const blit = m::blit_encoder(m::command_buffer(queue.get()));
  const auto fill = [&](std::size_t offset, std::size_t bytes, std::string_view part,
                        std::string_view said) {
    expect_both(
        "metal.fill", [&] { checked.fill(a, offset, bytes, 0); }, part,
        [&] { m::fill_buffer(blit, a.object().get(), {offset, bytes}, 0); }, said);
  };
  fill(0, 0, "must not be 0", "fills no bytes");
  fill(8, 9, "offset 8 and 9 bytes", "bytes 8 to 17 are beyond a buffer of 16");
  const auto copy = [&](const Buffer& from, std::size_t at, const Buffer& to, std::size_t place,
                        std::size_t bytes, std::string_view part, std::string_view said) {
    expect_both(
        "metal.copy", [&] { checked.copy(from, at, to, place, bytes); }, part,
        [&] { m::copy_buffer(blit, from.object().get(), at, to.object().get(), place, bytes); },
        said);
  };
  copy(a, 2, b, 0, 4, "multiples of 4; got 2, 0, 4", "multiples of 4, got 2, 0, 4");
  copy(a, 0, b, 2, 4, "got 0, 2, 4", "got 0, 2, 4");
  copy(a, 0, b, 0, 6, "got 0, 0, 6", "got 0, 0, 6");
  copy(a, 0, b, 0, 0, "must not be 0", "copies no bytes");
  copy(a, 8, b, 0, 12, "the source has 16 bytes; got offset 8", "the source: bytes 8 to 20");
  copy(a, 0, b, 8, 12, "the destination has 16 bytes; got offset 8",
       "the destination: bytes 8 to 20");
  copy(a, 0, a, 4, 8, "must not overlap; got offsets 0 and 4", "overlap");
  checked.end();
  m::end_encoding(blit);
}

TEST_F(MetalRulesTest, Bindings) {
  const AutoreleaseScope scope;
  const Buffer a = device().buffer(16);
  const std::vector<std::byte> bytes(4097);
  CommandBuffer work = device().queue().command_buffer();
  ComputeEncoder checked = work.compute_encoder();
  const auto queue = m::new_queue(raw(), 4);
  MTLComputeCommandEncoder* const encoder = m::compute_encoder(m::command_buffer(queue.get()), 0);
  const auto buffer = [&](std::size_t offset, std::uint32_t index, std::string_view part,
                          std::string_view said) {
    expect_both(
        "metal.set_buffer", [&] { checked.set_buffer(a, offset, index); }, part,
        [&] { m::set_buffer(encoder, a.object().get(), offset, index); }, said);
  };
  buffer(16, 0, "16 bytes; got 16", "offset 16 is beyond a buffer of 16");
  buffer(0, 31, "at most 30; got 31", "31 is above 30");
  const auto inlined = [&](std::size_t count, std::uint32_t index, std::string_view part,
                           std::string_view said) {
    expect_both(
        "metal.set_bytes", [&] { checked.set_bytes(std::span(bytes).first(count), index); }, part,
        [&] { m::set_bytes(encoder, bytes.data(), count, index); }, said);
  };
  inlined(0, 0, "got 0", "no bytes");
  inlined(4097, 0, "got 4097", "length 4097 must be <= 4096");
  inlined(4, 31, "at most 30; got 31", "31 is above 30");
  const auto group = [&](std::size_t count, std::uint32_t index, std::string_view part,
                         std::string_view said) {
    expect_both(
        "metal.set_threadgroup_memory", [&] { checked.set_threadgroup_memory(count, index); }, part,
        [&] { m::set_threadgroup_memory(encoder, count, index); }, said);
  };
  group(24, 0, "got 24", "24 must be a multiple of 16");
  group(32784, 0, "got 32784", "32784 is above 32768");
  group(16, 31, "at most 30; got 31", "31 is above 30");
  EXPECT_TEXT(fault_of([&] { set_buffer_offset(encoder, 4, 1); }), "no buffer is bound at index 1");
  m::set_buffer(encoder, a.object().get(), 0, 1);
  EXPECT_TEXT(fault_of([&] { set_buffer_offset(encoder, 16, 1); }), "beyond a buffer of 16");
  checked.end();
  m::end_encoding(encoder);
}

TEST_F(MetalRulesTest, Dispatches) {
  const AutoreleaseScope scope;
  const Library library = device().library(kSource);
  const ComputePipeline one = device().pipeline(library.function("one"));
  const ComputePipeline two = device().pipeline(library.function("two"));
  const Buffer x = device().buffer(16);
  CommandBuffer work = device().queue().command_buffer();
  ComputeEncoder checked = work.compute_encoder();
  const auto queue = m::new_queue(raw(), 4);
  MTLComputeCommandEncoder* const encoder = m::compute_encoder(m::command_buffer(queue.get()), 0);
  const auto refused = [&](Size grid, Size group, std::string_view part, std::string_view said,
                           std::string_view said_of_threads) {
    const MTLSize n{grid.width, grid.height, grid.depth};
    const MTLSize per{group.width, group.height, group.depth};
    expect_both(
        "metal.dispatch_threadgroups", [&] { checked.dispatch_threadgroups(grid, group); }, part,
        [&] { m::dispatch_threadgroups(encoder, n, per); }, said);
    expect_both(
        "metal.dispatch_threads", [&] { checked.dispatch_threads(grid, group); }, part,
        [&] { m::dispatch_threads(encoder, n, per); }, said_of_threads);
  };
  refused({1}, {1}, "no pipeline is set", "without a pipeline", "without a pipeline");
  checked.set_pipeline(one);
  checked.set_buffer(x, 0, 0);
  m::set_pipeline(encoder, one.object().get());
  m::set_buffer(encoder, x.object().get(), 0, 0);
  constexpr std::uint64_t kLarge = std::uint64_t{1} << 32;
  const std::string_view above = "above maxTotalThreadsPerThreadgroup 1024";
  refused({1}, {1, 0, 1}, "must not be empty; got 1x1x1 and 1x0x1",
          "a threadgroup of 1x0x1 threads has none", "a threadgroup of no threads");
  refused({1}, {1025}, "got 1025x1x1", above, above);
  refused({1}, {32, 33, 1}, "got 32x33x1", above, above);
  refused({1, kLarge}, {1}, "below 2^32; got 1x4294967296x1", "a grid of 1x4294967296x1",
          "a grid of 1x4294967296x1");
  // An empty grid is nothing to do for softmetal, and not written down for Metal: the rule is ours.
  EXPECT_TEXT(error_of([&] { checked.dispatch_threads({0}, {32}); }).what(), "must not be empty");
  checked.set_pipeline(two);
  m::set_pipeline(encoder, two.object().get());
  m::set_threadgroup_memory(encoder, 16384, 0);
  EXPECT_TEXT(fault_of([&] { m::dispatch_threads(encoder, {1, 1, 1}, {1, 1, 1}); }),
              "two: threadgroup memory 1 has no length");
  m::set_threadgroup_memory(encoder, 16400, 1);
  checked.set_threadgroup_memory(16384, 0);
  checked.set_threadgroup_memory(16400, 1);
  const std::string_view over =
      "two: threadgroup memory of 32784 bytes is above the limit of 32768";
  refused({1}, {1}, "two may use at most 32768 bytes of threadgroup memory; got 32784", over, over);
  checked.end();
  m::end_encoding(encoder);
}

}  // namespace
}  // namespace wick::test

#include "softmetal/metal/encoder.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "apple/objc/structs.hpp"
#include "softmetal/metal/statistics.hpp"
#include "softmetal/objc/foundation.hpp"

namespace softmetal {
namespace {

using wick::apple::objc::MTLSize;
using wick::apple::objc::NSRange;

Class* blit_class = nullptr;
Class* compute_class = nullptr;

// ---- MTLCommandEncoder
void end_encoding(EncoderState& self) { self.end(); }
Object* encoder_label(EncoderState& self) { return string_object(self.label); }
void set_encoder_label(EncoderState& self, StringState* label) {
  self.label = label == nullptr ? std::string() : label->text();
}
Object* encoder_device(EncoderState& self) { return self.buffer->queue->device.object(); }

// ---- MTLBlitCommandEncoder
void fill(BlitEncoderState& self, BufferState& buffer, NSRange range, std::uint8_t value) {
  self.check_open();
  if (range.length == 0) fault("fills no bytes");
  buffer.check_range("fillBuffer", range.location, range.length);
  self.buffer->append({.what = "fillBuffer", .run = [held = Hold(&buffer), range, value] {
                         std::memset(held->bytes() + range.location, value, range.length);
                       }});
}

void copy(BlitEncoderState& self, BufferState& source, std::uint64_t source_offset,
          BufferState& destination, std::uint64_t destination_offset, std::uint64_t size) {
  self.check_open();
  constexpr std::uint64_t kUnit = 4;  // on macOS
  if (source_offset % kUnit != 0 || destination_offset % kUnit != 0 || size % kUnit != 0) {
    fault("offsets and size of a copy must be multiples of 4, got " +
          std::to_string(source_offset) + ", " + std::to_string(destination_offset) + ", " +
          std::to_string(size));
  }
  if (size == 0) fault("copies no bytes");
  source.check_range("the source", source_offset, size);
  destination.check_range("the destination", destination_offset, size);
  const bool overlap = &source == &destination && source_offset < destination_offset + size &&
                       destination_offset < source_offset + size;
  if (overlap) fault("source and destination of a copy overlap");
  self.buffer->append({.what = "copyFromBuffer",
                       .run = [from = Hold(&source), to = Hold(&destination), source_offset,
                               destination_offset, size] {
                         std::memcpy(to->bytes() + destination_offset,
                                     from->bytes() + source_offset, size);
                       }});
}

// ---- MTLComputeCommandEncoder
std::uint64_t dispatch_type(ComputeEncoderState& self) { return self.dispatch_type; }

Binding& slot(ComputeEncoderState& self, std::uint64_t index) {
  self.check_open();
  if (index >= limits::kBuffers) fault("buffer index " + std::to_string(index) + " is above 30");
  return self.bindings[index];
}

void set_pipeline(ComputeEncoderState& self, PipelineState& pipeline) {
  self.check_open();
  self.pipeline = Hold(&pipeline);
}

void set_buffer(ComputeEncoderState& self, BufferState* buffer, std::uint64_t offset,
                std::uint64_t index) {
  Binding& binding = slot(self, index);
  if (buffer != nullptr && offset >= buffer->length) {
    fault("offset " + std::to_string(offset) + " is beyond a buffer of " +
          std::to_string(buffer->length));
  }
  binding = {.buffer = Hold(buffer), .offset = offset};
}

void set_buffer_offset(ComputeEncoderState& self, std::uint64_t offset, std::uint64_t index) {
  Binding& binding = slot(self, index);
  if (!binding.buffer) fault("no buffer is bound at index " + std::to_string(index));
  if (offset >= binding.buffer->length) {
    fault("offset " + std::to_string(offset) + " is beyond a buffer of " +
          std::to_string(binding.buffer->length));
  }
  binding.offset = offset;
}

void set_bytes(ComputeEncoderState& self, const void* bytes, std::uint64_t length,
               std::uint64_t index) {
  Binding& binding = slot(self, index);
  if (bytes == nullptr || length == 0) fault("no bytes");
  if (length > limits::kInlineBytes) fault("length " + std::to_string(length) + " must be <= 4096");
  const auto* begin = static_cast<const std::byte*>(bytes);
  binding = {.inline_bytes = {begin, begin + length}};
}

void set_threadgroup_memory(ComputeEncoderState& self, std::uint64_t length, std::uint64_t index) {
  self.check_open();
  if (index >= limits::kBuffers)
    fault("threadgroup memory index " + std::to_string(index) + " is above 30");
  if (length % 16 != 0) fault("length " + std::to_string(length) + " must be a multiple of 16");
  if (length > limits::kThreadgroupBytes)
    fault("length " + std::to_string(length) + " is above 32768");
  self.threadgroup_bytes[index] = length;
}

void dispatch(ComputeEncoderState& self, MTLSize groups, MTLSize threads_per_group,
              MTLSize threads) {
  self.check_open();
  if (!self.pipeline) fault("a dispatch without a pipeline");
  self.add_dispatch(self.pipeline->make_work(self.bindings, self.threadgroup_bytes, groups,
                                             threads_per_group, threads));
  ++statistics().dispatches;
}

void dispatch_groups(ComputeEncoderState& self, MTLSize groups, MTLSize per_group) {
  dispatch(self, groups, per_group,
           {groups.width * per_group.width, groups.height * per_group.height,
            groups.depth * per_group.depth});
}

void dispatch_threads(ComputeEncoderState& self, MTLSize threads, MTLSize per_group) {
  if (per_group.width == 0 || per_group.height == 0 || per_group.depth == 0) {
    fault("a threadgroup of no threads");
  }
  const auto groups = [](std::uint64_t n, std::uint64_t per) { return (n + per - 1) / per; };
  dispatch(self,
           {groups(threads.width, per_group.width), groups(threads.height, per_group.height),
            groups(threads.depth, per_group.depth)},
           per_group, threads);
}

void memory_barrier(ComputeEncoderState& self, std::uint64_t) {
  self.check_open();
  self.barrier();
}

}  // namespace

EncoderState::EncoderState(CommandBufferState& of) : buffer(&of) { of.open(*this); }
EncoderState::~EncoderState() {
  if (ended_) return;
  buffer->close(*this);
  fault_late("a command encoder is released without endEncoding");
}
void EncoderState::check_open() const {
  if (ended_) fault("the encoder was ended");
}
void EncoderState::end() {
  check_open();
  ended_ = true;
  buffer->close(*this);
}

void ComputeEncoderState::barrier() {
  constexpr std::uint64_t kConcurrent = 1;
  if (dispatch_type == kConcurrent && lane_seed() != 0) {
    std::shuffle(dispatches_.begin(), dispatches_.end(), std::mt19937_64(lane_seed()));
  }
  for (Work& work : std::exchange(dispatches_, {})) buffer->append(std::move(work));
}
void ComputeEncoderState::end() {
  check_open();
  barrier();
  EncoderState::end();
}

Object* make_blit_encoder(CommandBufferState& buffer) {
  ++statistics().blit_encoders;
  return make_autoreleased<BlitEncoderState>(blit_class, buffer);
}
Object* make_compute_encoder(CommandBufferState& buffer, std::uint64_t type) {
  ++statistics().compute_encoders;
  return make_autoreleased<ComputeEncoderState>(compute_class, buffer, type);
}

void register_encoders() {
  const auto common = [](auto& builder) {
    builder.template method<"endEncoding", &end_encoding>()
        .template method<"label", &encoder_label>()
        .template method<"setLabel:", &set_encoder_label>()
        .template method<"device", &encoder_device>();
  };
  ClassBuilder<"MTLCommandEncoder", "MTLBlitCommandEncoder"> blit("SoftmetalBlitCommandEncoder",
                                                                  "NSObject");
  common(blit);
  blit_class = blit.method<"fillBuffer:range:value:", &fill>()
                   .method<"copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:", &copy>()
                   .done();
  ClassBuilder<"MTLCommandEncoder", "MTLComputeCommandEncoder"> compute(
      "SoftmetalComputeCommandEncoder", "NSObject");
  common(compute);
  compute_class = compute.method<"dispatchType", &dispatch_type>()
                      .method<"setComputePipelineState:", &set_pipeline>()
                      .method<"setBuffer:offset:atIndex:", &set_buffer>()
                      .method<"setBufferOffset:atIndex:", &set_buffer_offset>()
                      .method<"setBytes:length:atIndex:", &set_bytes>()
                      .method<"setThreadgroupMemoryLength:atIndex:", &set_threadgroup_memory>()
                      .method<"dispatchThreadgroups:threadsPerThreadgroup:", &dispatch_groups>()
                      .method<"dispatchThreads:threadsPerThreadgroup:", &dispatch_threads>()
                      .method<"memoryBarrierWithScope:", &memory_barrier>()
                      .done();
}

}  // namespace softmetal

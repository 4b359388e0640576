#include "softmetal/metal/device.hpp"
#include "softmetal/metal/encoder.hpp"
#include "softmetal/metal/gpu.hpp"
#include "softmetal/metal/statistics.hpp"
#include "softmetal/objc/class_builder.hpp"
#include "softmetal/objc/foundation.hpp"

// MTLCommandQueue, MTLCommandBuffer, MTLEvent and MTLSharedEvent as the runtime sees them.

namespace softmetal {
namespace {

using wick::apple::objc::BlockPointer;

Class* queue_class = nullptr;
Class* buffer_class = nullptr;
Class* event_class = nullptr;
Class* shared_event_class = nullptr;

// ---- MTLCommandQueue
Object* queue_buffer(QueueState& self) { return make_command_buffer(self).self(); }
Object* queue_device(QueueState& self) { return self.device.object(); }
Object* queue_label(QueueState& self) { return string_object(self.label); }
void set_queue_label(QueueState& self, StringState* label) {
  self.label = label == nullptr ? std::string() : label->text();
}

// ---- MTLCommandBuffer
Object* buffer_device(CommandBufferState& self) { return self.queue->device.object(); }
Object* buffer_queue(CommandBufferState& self) { return self.queue.object(); }
bool retained_references(CommandBufferState&) { return true; }
Object* buffer_label(CommandBufferState& self) { return string_object(self.label); }
void set_buffer_label(CommandBufferState& self, StringState* label) {
  self.label = label == nullptr ? std::string() : label->text();
}
double gpu_start(CommandBufferState& self) { return self.gpu_start(); }
double gpu_end(CommandBufferState& self) { return self.gpu_end(); }
void enqueue(CommandBufferState& self) { self.enqueue(); }
void commit(CommandBufferState& self) { self.commit(); }
void add_scheduled(CommandBufferState& self, BlockPointer block) {
  self.add_handler(BlockCopy(block), true);
}
void add_completed(CommandBufferState& self, BlockPointer block) {
  self.add_handler(BlockCopy(block), false);
}
void wait_scheduled(CommandBufferState& self) { self.wait(true); }
void wait_completed(CommandBufferState& self) { self.wait(false); }
std::uint64_t status(CommandBufferState& self) { return static_cast<std::uint64_t>(self.status()); }
Object* error(CommandBufferState& self) {
  return self.status() == Status::kError ? self.error() : nullptr;
}
Object* blit_encoder(CommandBufferState& self) {
  self.check_encodable();
  return make_blit_encoder(self);
}
Object* compute_encoder_of_type(CommandBufferState& self, std::uint64_t type) {
  self.check_encodable();
  return make_compute_encoder(self, type);
}
Object* compute_encoder(CommandBufferState& self) { return compute_encoder_of_type(self, 0); }
void encode_wait(CommandBufferState& self, EventState& event, std::uint64_t value) {
  self.check_encodable();
  self.append({.what = "encodeWaitForEvent", .event = Hold(&event), .value = value, .waits = true});
}
void encode_signal(CommandBufferState& self, EventState& event, std::uint64_t value) {
  self.check_encodable();
  self.append({.what = "encodeSignalEvent", .event = Hold(&event), .value = value});
}

// ---- MTLSharedEvent
std::uint64_t signaled_value(EventState& self) { return self.value(); }
void set_signaled_value(EventState& self, std::uint64_t value) { self.signal(value); }
bool wait_until_signaled(EventState& self, std::uint64_t value, std::uint64_t milliseconds) {
  ++statistics().host_waits;
  return self.wait(value, milliseconds);
}

}  // namespace

Object* make_queue(DeviceState& device, std::uint64_t capacity) {
  ++statistics().queues;
  return make_owned<QueueState>(queue_class, device, capacity);
}
CommandBufferState& make_command_buffer(QueueState& queue) {
  queue.begin_buffer();
  ++statistics().command_buffers;
  return state<CommandBufferState>(make_autoreleased<CommandBufferState>(buffer_class, queue));
}
Object* make_event(bool shared) {
  return make_owned<EventState>(shared ? shared_event_class : event_class, shared);
}

void register_commands() {
  queue_class = ClassBuilder<"MTLCommandQueue">("SoftmetalCommandQueue", "NSObject")
                    .method<"commandBuffer", &queue_buffer>()
                    .method<"device", &queue_device>()
                    .method<"label", &queue_label>()
                    .method<"setLabel:", &set_queue_label>()
                    .done();
  buffer_class = ClassBuilder<"MTLCommandBuffer">("SoftmetalCommandBuffer", "NSObject")
                     .method<"device", &buffer_device>()
                     .method<"commandQueue", &buffer_queue>()
                     .method<"retainedReferences", &retained_references>()
                     .method<"label", &buffer_label>()
                     .method<"setLabel:", &set_buffer_label>()
                     .method<"GPUStartTime", &gpu_start>()
                     .method<"GPUEndTime", &gpu_end>()
                     .method<"kernelStartTime", &gpu_start>()
                     .method<"kernelEndTime", &gpu_end>()
                     .method<"enqueue", &enqueue>()
                     .method<"commit", &commit>()
                     .method<"addScheduledHandler:", &add_scheduled>()
                     .method<"addCompletedHandler:", &add_completed>()
                     .method<"waitUntilScheduled", &wait_scheduled>()
                     .method<"waitUntilCompleted", &wait_completed>()
                     .method<"status", &status>()
                     .method<"error", &error>()
                     .method<"blitCommandEncoder", &blit_encoder>()
                     .method<"computeCommandEncoder", &compute_encoder>()
                     .method<"computeCommandEncoderWithDispatchType:", &compute_encoder_of_type>()
                     .method<"encodeWaitForEvent:value:", &encode_wait>()
                     .method<"encodeSignalEvent:value:", &encode_signal>()
                     .done();
  event_class = ClassBuilder<"MTLEvent">("SoftmetalEvent", "NSObject").done();
  shared_event_class =
      ClassBuilder<"MTLEvent", "MTLSharedEvent">("SoftmetalSharedEvent", "NSObject")
          .method<"signaledValue", &signaled_value>()
          .method<"setSignaledValue:", &set_signaled_value>()
          .method<"waitUntilSignaledValue:timeoutMS:", &wait_until_signaled>()
          .done();
}

}  // namespace softmetal

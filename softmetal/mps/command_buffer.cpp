#include "softmetal/mps/kernel.hpp"

// MPSCommandBuffer: stands for one command buffer after another of its queue.

namespace softmetal::mps {
namespace {

Class* buffer_class = nullptr;

Object* from_queue(Object*, QueueState& queue) {
  return make_autoreleased<ContinuedBufferState>(buffer_class, make_command_buffer(queue));
}
Object* around(Object*, CommandBufferState& buffer) {
  buffer.check_encodable();
  return make_autoreleased<ContinuedBufferState>(buffer_class, buffer);
}
Object* current(ContinuedBufferState& self) { return self.current.object(); }
void commit_and_continue(ContinuedBufferState& self) {
  CommandBufferState& before = *self.current;
  before.check_encodable();
  const Hold<CommandBufferState> next(&make_command_buffer(*before.queue));
  next->take_over_temporaries(before);
  before.commit();
  self.current = next;
}

}  // namespace

void register_command_buffer() {
  // What it has of a command buffer it inherits from ours.
  buffer_class = ClassBuilder<"MPSCommandBuffer">("MPSCommandBuffer", "SoftmetalCommandBuffer")
                     .class_method<"commandBufferFromCommandQueue:", &from_queue>()
                     .class_method<"commandBufferWithCommandBuffer:", &around>()
                     .method<"commandBuffer", &current>()
                     .method<"rootCommandBuffer", &current>()
                     .method<"commitAndContinue", &commit_and_continue>()
                     .done();
}

}  // namespace softmetal::mps

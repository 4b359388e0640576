#include "wick/apple/mps/command_buffer.hpp"

#include "apple/metal/command_buffer.hpp"
#include "apple/metal/metal_messages.hpp"
#include "apple/mps/mps_messages.hpp"
#include "apple/objc/foundation.hpp"

namespace wick::apple::mps {

namespace {

constexpr std::string_view kOp = "mps.command_buffer";

Ref<objc::MTLCommandBuffer> make(const metal::CommandQueue& queue) {
  const AutoreleaseScope scope;
  auto made =
      Ref<objc::MTLCommandBuffer>::retain(messages::command_buffer_from(queue.object().get()));
  if (!made) throw Error(ErrorKind::kBackend, std::string(kOp), "Metal made no command buffer");
  return made;
}

objc::MPSCommandBuffer* continued(const metal::CommandBuffer& work) {
  return static_cast<objc::MPSCommandBuffer*>(work.object().get());
}

}  // namespace

CommandBuffer::CommandBuffer(const metal::CommandQueue& queue) : work_(make(queue)) {}

void CommandBuffer::commit_and_continue() {
  work_.check_encodable("mps.commit_and_continue");
  const AutoreleaseScope scope;
  objc::MPSCommandBuffer* const object = continued(work_);
  pieces_.push_back(Ref<objc::MTLCommandBuffer>::retain(messages::current_command_buffer(object)));
  messages::commit_and_continue(object);
}

void CommandBuffer::commit() {
  work_.commit();
  committed_ = true;
}

void CommandBuffer::wait() {
  if (!committed_) return work_.wait();  // which says what is wrong
  metal::detail::check_outside_handlers("metal.wait");
  const AutoreleaseScope scope;
  for (const auto& piece : pieces_) {
    metal::messages::wait_until_completed(piece.get());
    const auto status =
        static_cast<metal::CommandBufferStatus>(metal::messages::buffer_status(piece.get()));
    if (status != metal::CommandBufferStatus::kError) continue;
    throw objc::to_error(metal::messages::buffer_error(piece.get()), ErrorKind::kBackend,
                         std::string(kOp), "a piece of the command buffer failed");
  }
  work_.wait();
}

}  // namespace wick::apple::mps

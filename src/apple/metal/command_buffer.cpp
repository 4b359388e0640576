#include "apple/metal/command_buffer.hpp"

#include "apple/metal/metal_messages.hpp"
#include "apple/metal/refuse.hpp"
#include "apple/objc/block.hpp"
#include "apple/objc/foundation.hpp"

namespace wick::apple::metal {

using detail::refuse;

namespace {
thread_local bool in_handler = false;  // on Metal's thread, while a handler of ours runs
}  // namespace

void detail::check_outside_handlers(std::string_view op) {
  if (in_handler) refuse(op, "a handler must not wait: what it waits for may wait for its end");
}

CommandBuffer CommandQueue::command_buffer() const {
  const AutoreleaseScope scope;
  auto made = Ref<objc::MTLCommandBuffer>::retain(messages::command_buffer(object_.get()));
  if (!made)
    throw Error(ErrorKind::kBackend, "metal.command_buffer", "Metal made no command buffer");
  return CommandBuffer(std::move(made));
}

CommandBuffer::CommandBuffer(Ref<objc::MTLCommandBuffer> object)
    : state_(std::make_shared<detail::CommandBufferState>()) {
  state_->object = std::move(object);
}
CommandBuffer::~CommandBuffer() = default;

const Ref<objc::MTLCommandBuffer>& CommandBuffer::object() const noexcept { return state_->object; }

void CommandBuffer::check_there(std::string_view what) const {
  if (state_ == nullptr) refuse(what, "the command buffer was moved from");
}

void CommandBuffer::check_encodable(std::string_view what) const {
  check_there(what);
  if (state_->committed) refuse(what, "the command buffer is committed already; make a new one");
  if (state_->encoder_open) refuse(what, "an encoder of the command buffer is open; end it first");
}

ComputeEncoder CommandBuffer::compute_encoder(bool concurrent) {
  check_encodable("metal.compute_encoder");
  const AutoreleaseScope scope;
  auto made = Ref<objc::MTLCommandEncoder>::retain(
      messages::compute_encoder(object().get(), concurrent ? 1 : 0));
  if (!made) throw Error(ErrorKind::kBackend, "metal.compute_encoder", "Metal made no encoder");
  return ComputeEncoder(std::make_unique<detail::OpenEncoder>(state_, std::move(made)));
}

BlitEncoder CommandBuffer::blit_encoder() {
  check_encodable("metal.blit_encoder");
  const AutoreleaseScope scope;
  auto made = Ref<objc::MTLCommandEncoder>::retain(messages::blit_encoder(object().get()));
  if (!made) throw Error(ErrorKind::kBackend, "metal.blit_encoder", "Metal made no encoder");
  return BlitEncoder(std::make_unique<detail::OpenEncoder>(state_, std::move(made)));
}

void CommandBuffer::signal(const SharedEvent& event, std::uint64_t value) {
  check_encodable("metal.signal");
  messages::encode_signal(object().get(), event.object().get(), value);
}
void CommandBuffer::wait_for(const SharedEvent& event, std::uint64_t value) {
  check_encodable("metal.wait_for");
  messages::encode_wait(object().get(), event.object().get(), value);
}

void CommandBuffer::on_completed(std::function<void(CommandBufferStatus)> handler) {
  check_encodable("metal.on_completed");
  const objc::Block<void(objc::MTLCommandBuffer*)> block(
      [call = std::move(handler)](objc::MTLCommandBuffer* ended) noexcept {
        const AutoreleaseScope scope;  // the thread is Metal's and has no pool of ours
        in_handler = true;
        call(static_cast<CommandBufferStatus>(messages::buffer_status(ended)));
        in_handler = false;
      });
  messages::add_completed_handler(object().get(), block.pointer());
}

void CommandBuffer::set_label(std::string_view label) {
  check_there("metal.set_label");
  const AutoreleaseScope scope;
  const auto text = objc::make_string(label);
  messages::set_buffer_label(object().get(), text.get());
}

void CommandBuffer::enqueue() {
  check_encodable("metal.enqueue");
  messages::enqueue(object().get());
}

void CommandBuffer::commit() {
  check_encodable("metal.commit");
  const AutoreleaseScope scope;
  state_->committed = true;
  messages::commit(object().get());
}

void CommandBuffer::wait() {
  constexpr std::string_view kOp = "metal.wait";
  check_there(kOp);
  if (!state_->committed)
    refuse(kOp, "the command buffer is not committed: this would wait for ever");
  detail::check_outside_handlers(kOp);
  const AutoreleaseScope scope;
  messages::wait_until_completed(object().get());
  if (status() != CommandBufferStatus::kError) return;
  throw objc::to_error(messages::buffer_error(object().get()), ErrorKind::kBackend,
                       std::string(kOp), "the command buffer failed");
}

CommandBufferStatus CommandBuffer::status() const {
  check_there("metal.status");
  return static_cast<CommandBufferStatus>(messages::buffer_status(object().get()));
}

double CommandBuffer::gpu_seconds() const {
  check_there("metal.gpu_seconds");
  return messages::gpu_end_time(object().get()) - messages::gpu_start_time(object().get());
}

}  // namespace wick::apple::metal

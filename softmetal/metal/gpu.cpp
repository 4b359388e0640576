#include "softmetal/metal/gpu.hpp"

#include <chrono>
#include <thread>
#include <utility>

#include "softmetal/metal/device.hpp"
#include "softmetal/metal/encoder.hpp"
#include "softmetal/metal/statistics.hpp"
#include "softmetal/objc/foundation.hpp"
#include "softmetal/softmetal.hpp"

namespace softmetal {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::int64_t kErrorInternal = 1;
constexpr std::int64_t kErrorDeviceRemoved = 11;
thread_local bool this_is_gpu = false;

}  // namespace

// ---- events

void EventState::signal(std::uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    value_ = value;
  }
  changed_.notify_all();
  Gpu::instance().wake();
}

bool EventState::wait(std::uint64_t value, std::uint64_t milliseconds) {
  // Longer than a year would overflow the clock.
  constexpr std::uint64_t kYear = 365ull * 24 * 3600 * 1000;
  const auto limit = std::chrono::milliseconds(std::min(milliseconds, kYear));
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return value_ >= value; });
}

// ---- queues

QueueState::QueueState(DeviceState& of, std::uint64_t max) : device(&of), capacity(max) {}

void QueueState::begin_buffer() {
  std::unique_lock lock(mutex_);
  if (living_ >= capacity && committed_ == 0) {
    fault("the queue has room for " + std::to_string(capacity) +
          " command buffers; all were made and none committed: this would wait for ever");
  }
  ended_.wait(lock, [&] { return living_ < capacity; });
  ++living_;
}

void QueueState::note_committed() {
  const std::lock_guard lock(mutex_);
  ++committed_;
}

void QueueState::end_buffer(bool was_committed) {
  {
    const std::lock_guard lock(mutex_);
    --living_;
    if (was_committed) --committed_;
  }
  ended_.notify_all();
}

// ---- command buffers

namespace {
std::uint64_t next_heap() {
  static std::atomic<std::uint64_t> made{0};
  return ++made;
}
}  // namespace

CommandBufferState::CommandBufferState(QueueState& of) : queue(&of), heap_(next_heap()) {}

void CommandBufferState::take_over_temporaries(CommandBufferState& from) {
  heap_ = from.heap_;
  kept_ = std::exchange(from.kept_, {});
}

CommandBufferState::~CommandBufferState() {
  release_kept();
  if (status_ < Status::kCommitted) queue->end_buffer(false);
  release(error_);
}

void CommandBufferState::check_encodable() {
  if (status_ >= Status::kCommitted) fault("the command buffer is committed already");
  if (encoder_ != nullptr) {
    fault("a command encoder is already encoding to this command buffer: end it first");
  }
}

void CommandBufferState::open(EncoderState& encoder) {
  check_encodable();
  encoder_ = &encoder;
}
void CommandBufferState::close(EncoderState& encoder) {
  if (encoder_ == &encoder) encoder_ = nullptr;
}
void CommandBufferState::release_kept() {
  for (Object* object : std::exchange(kept_, {})) release(object);
}
void CommandBufferState::append(Work work) { work_.push_back(std::move(work)); }

void CommandBufferState::enqueue() {
  if (status_ >= Status::kCommitted) fault("the command buffer is committed already");
  if (status_ == Status::kEnqueued) return;
  status_ = Status::kEnqueued;
  Gpu::instance().enqueue(*this);
}

void CommandBufferState::commit() {
  if (status_ >= Status::kCommitted) fault("the command buffer is committed already");
  if (encoder_ != nullptr) fault("commit with an open encoder");
  if (status_ == Status::kNotEnqueued) enqueue();
  ++statistics().commits;
  release_kept();
  queue->note_committed();
  status_ = Status::kCommitted;
  Gpu::instance().wake();
}

void CommandBufferState::add_handler(BlockCopy handler, bool scheduled) {
  if (status_ >= Status::kCommitted) fault("a handler is added after commit");
  (scheduled ? scheduled_handlers_ : completed_handlers_).push_back(std::move(handler));
}

void CommandBufferState::wait(bool scheduled) {
  if (status_ < Status::kCommitted) {
    fault("waits for a command buffer that was not committed: this would wait for ever");
  }
  if (Gpu::instance().is_this_thread()) fault("waits for a command buffer inside of a handler");
  if (!scheduled) ++statistics().host_waits;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return finished_ || (scheduled && status_ >= Status::kScheduled); });
}

void CommandBufferState::fail(std::int64_t code, const std::string& text) {
  error_ = make_error("MTLCommandBufferErrorDomain", code, text);
}

void CommandBufferState::run_next(const Work& work) {
  if (EventState* const event = work.event.get(); event != nullptr) {
    event->signal(work.value);
    return;
  }
  try {
    work.run();
  } catch (const std::exception& error) {
    fail(kErrorInternal, work.what + ": " + error.what());
  }
}

void CommandBufferState::finish() {
  work_.clear();
  gpu_end_ = now();
  status_ = error_ == nullptr ? Status::kCompleted : Status::kError;
  for (const BlockCopy& handler : completed_handlers_) handler.call(self());
  completed_handlers_.clear();
  scheduled_handlers_.clear();
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
  queue->end_buffer(true);
}

// ---- the thread

Gpu& Gpu::instance() {
  // Never destroyed: an object may be released on its thread while the process ends.
  static Gpu* const only = new Gpu;
  return *only;
}

Gpu::Gpu() {
  std::thread([this] { loop(); }).detach();
}

bool Gpu::is_this_thread() const { return this_is_gpu; }

void Gpu::enqueue(CommandBufferState& buffer) {
  const std::lock_guard lock(mutex_);
  QueueState& queue = *buffer.queue;
  if (queue.order_.empty()) queues_.emplace_back(&queue);
  queue.order_.emplace_back(&buffer);
}

void Gpu::wake() {
  {
    const std::lock_guard lock(mutex_);
    ++wakes_;
  }
  changed_.notify_all();
}

void Gpu::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] {
    for (const auto& queue : queues_) {
      for (const auto& buffer : queue->order_) {
        if (buffer->status_ >= Status::kCommitted) return false;
      }
    }
    return !busy_;
  });
}

/// Runs the first buffer of a queue as far as it goes. Whether anything was done.
bool Gpu::advance(QueueState& queue, std::unique_lock<std::mutex>& lock) {
  const Hold<CommandBufferState> buffer = queue.order_.front();
  if (!buffer || buffer->status_ < Status::kCommitted) return false;
  lock.unlock();
  const PoolScope pool;
  bool moved = false;
  if (buffer->status_ == Status::kCommitted) {
    moved = true;
    buffer->gpu_start_ = now();
    {
      const std::lock_guard guard(buffer->mutex_);
      buffer->status_ = Status::kScheduled;
    }
    buffer->changed_.notify_all();
    for (const BlockCopy& handler : buffer->scheduled_handlers_) handler.call(buffer->self());
    if (device_is_lost()) {
      buffer->fail(kErrorDeviceRemoved, "the device was removed");
    } else if (fails_now(Failure::kCommandBuffer)) {
      buffer->fail(kErrorInternal, "injected: the command buffer failed");
    }
  }
  while (buffer->error_ == nullptr && buffer->next_ < buffer->work_.size()) {
    const Work& work = buffer->work_[buffer->next_];
    const EventState* const event = work.event.get();
    if (work.waits && event != nullptr && event->value() < work.value) {
      lock.lock();
      return moved;
    }
    if (!work.waits) buffer->run_next(work);
    ++buffer->next_;
    moved = true;
  }
  buffer->finish();
  lock.lock();
  queue.order_.pop_front();
  return true;
}

void Gpu::loop() {
  this_is_gpu = true;
  std::unique_lock lock(mutex_);
  for (;;) {
    busy_ = true;
    const std::uint64_t seen = wakes_;
    bool moved = false;
    for (std::size_t i = 0; i < queues_.size();) {
      const Hold<QueueState> queue = queues_[i];
      moved |= advance(*queue, lock);
      if (queue->order_.empty()) {
        queues_.erase(queues_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
    if (moved) continue;
    busy_ = false;
    idle_.notify_all();
    changed_.wait(lock, [&] { return wakes_ != seen; });
  }
}

void drain() { Gpu::instance().drain(); }

}  // namespace softmetal

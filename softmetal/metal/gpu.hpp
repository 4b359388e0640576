#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "softmetal/objc/blocks.hpp"
#include "softmetal/objc/root.hpp"

// Command queues, command buffers and events, and the thread that runs what was committed.

namespace softmetal {

class CommandBufferState;
class DeviceState;
class EncoderState;

/// MTLCommandBufferStatus.
enum class Status : std::uint64_t {
  kNotEnqueued,
  kEnqueued,
  kCommitted,
  kScheduled,
  kCompleted,
  kError
};

class EventState final : public State {
 public:
  explicit EventState(bool shared) : shared_(shared) {}
  bool shared() const { return shared_; }
  std::uint64_t value() const { return value_; }
  /// From the host or the GPU; wakes who waits.
  void signal(std::uint64_t value);
  /// Whether the value came within the time.
  bool wait(std::uint64_t value, std::uint64_t milliseconds);

 private:
  const bool shared_;
  std::atomic<std::uint64_t> value_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

class QueueState final : public State {
 public:
  QueueState(DeviceState& device, std::uint64_t capacity);
  Hold<DeviceState> device;
  const std::uint64_t capacity;
  std::string label;

  /// Counts one buffer more; waits while the queue is full. A fault when none that could end was committed.
  void begin_buffer();
  void note_committed();
  void end_buffer(bool was_committed);

 private:
  friend class Gpu;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::uint64_t living_ = 0;                    // made and not ended
  std::uint64_t committed_ = 0;                 // of those
  std::deque<Hold<CommandBufferState>> order_;  // enqueued, not ended; guarded by the Gpu's mutex
};

/// One piece of a command buffer: something to run, or an event to wait for or to signal.
struct Work {
  std::string what;  // names it in errors
  std::function<void()> run;
  Hold<EventState> event;
  std::uint64_t value = 0;
  bool waits = false;
};

class CommandBufferState final : public State {
 public:
  explicit CommandBufferState(QueueState& queue);
  ~CommandBufferState() override;

  Hold<QueueState> queue;
  std::string label;

  /// A fault unless something may be encoded now: not committed, no encoder open.
  void check_encodable();
  void open(EncoderState& encoder);
  void close(EncoderState& encoder);
  /// Appends work. What it uses it holds by itself.
  void append(Work work);
  /// Takes over a reference and lets go of it when the buffer is committed or released.
  void keep_until_commit(Object* owned) { kept_.push_back(owned); }
  /// Names the memory of temporaries: two buffers with one number share theirs.
  std::uint64_t heap() const { return heap_; }
  /// Goes on with what temporaries another buffer has, which is about to be committed.
  void take_over_temporaries(CommandBufferState& from);
  void enqueue();
  void commit();
  void add_handler(BlockCopy handler, bool scheduled);
  void wait(bool scheduled);
  Status status() const { return status_; }
  Object* error() const { return error_; }
  // Both read 0 until the buffer has ended.
  double gpu_start() const { return status_ >= Status::kCompleted ? gpu_start_.load() : 0; }
  double gpu_end() const { return status_ >= Status::kCompleted ? gpu_end_.load() : 0; }

 private:
  friend class Gpu;
  void run_next(const Work& work);
  void fail(std::int64_t code, const std::string& text);
  void finish();
  void release_kept();

  std::atomic<Status> status_{Status::kNotEnqueued};
  EncoderState* encoder_ = nullptr;
  std::vector<Object*> kept_;
  std::uint64_t heap_;
  std::vector<Work> work_;
  std::size_t next_ = 0;  // of work_, for the GPU's thread
  std::vector<BlockCopy> scheduled_handlers_;
  std::vector<BlockCopy> completed_handlers_;
  Object* error_ = nullptr;  // owned
  std::atomic<double> gpu_start_{0};
  std::atomic<double> gpu_end_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
};

/// An MPSCommandBuffer: each message of a command buffer goes to the one that it has reached.
class ContinuedBufferState final : public State {
 public:
  explicit ContinuedBufferState(CommandBufferState& first) : current(&first) {}
  Hold<CommandBufferState> current;
};

/// A command buffer, or the one that an MPSCommandBuffer has reached.
template <>
inline CommandBufferState& state<CommandBufferState>(Object* object) {
  if (object == nullptr) fault("an argument may not be nil");
  State* const found = state_of(object);
  if (auto* const continued = dynamic_cast<ContinuedBufferState*>(found))
    return *continued->current;
  auto* const buffer = dynamic_cast<CommandBufferState*>(found);
  if (buffer == nullptr) {
    fault("a " + class_name_of(object) + " is of the wrong class or not initialised");
  }
  return *buffer;
}

/// The one thread that runs command buffers: those of one queue in order, queues beside each other.
class Gpu {
 public:
  static Gpu& instance();
  void enqueue(CommandBufferState& buffer);
  /// Something may go on: a buffer was committed or an event was signalled.
  void wake();
  void drain();
  bool is_this_thread() const;

 private:
  Gpu();
  void loop();
  bool advance(QueueState& queue, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::deque<Hold<QueueState>> queues_;  // with buffers in their order
  std::uint64_t wakes_ = 0;
  bool busy_ = false;
};

void register_commands();
/// +1 for each.
Object* make_queue(DeviceState& device, std::uint64_t capacity);
Object* make_event(bool shared);
/// +0, autoreleased; waits while the queue is full.
CommandBufferState& make_command_buffer(QueueState& queue);

}  // namespace softmetal

#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/allocator.hpp"
#include "wick/apple/metal.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

class MpsBackend;

/// While it lives, what this thread enqueues belongs to a kernel of the catalog, whose name, a literal, failures carry.
class OpScope {
 public:
  explicit OpScope(std::string_view name) noexcept;
  ~OpScope();
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

  /// The innermost name; empty outside of all.
  static std::string_view current() noexcept;

 private:
  std::string_view outer_;
};

/// A command buffer, and what is in it for errors.
struct Batch {
  explicit Batch(apple::metal::CommandBuffer made) : commands(std::move(made)) {}

  apple::metal::CommandBuffer commands;
  std::string_view first_op, last_op;
  int num_kernels = 0;
  double work = 0;  // estimated floating-point operations

  bool has_ended() const;
  /// Waits; what it failed with, if it did.
  std::optional<Error> wait();
};

/// An ordered queue of kernels: one open command buffer, and those that are committed but may not have ended. All streams
/// of a device share Metal's queue, which runs command buffers in the order in which they were committed.
class MpsStream final : public Stream {
 public:
  /// Makes nothing of Metal's yet.
  explicit MpsStream(MpsBackend& backend);
  ~MpsStream() override;
  MpsStream(const MpsStream&) = delete;
  MpsStream& operator=(const MpsStream&) = delete;

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

  MpsBackend& backend() const noexcept { return backend_; }

  /// Writes to memory of the device in the order of the stream; `bytes` may be reused on return.
  void upload(void* data, const void* bytes, std::size_t count);
  /// Sets bytes in the order of the stream.
  void fill(void* data, std::byte value, std::size_t count);
  /// Commits what is open.
  void flush();

  /// The right to encode: other threads wait while one of these lives.
  class Encoding {
   public:
    /// `work` estimates the floating-point operations of what is encoded.
    Encoding(MpsStream& stream, double work);
    /// As above for a kernel of ours, which the encoder runs next.
    Encoding(MpsStream& stream, const apple::metal::ComputePipeline& pipeline, double work);
    ~Encoding();
    Encoding(const Encoding&) = delete;
    Encoding& operator=(const Encoding&) = delete;

    /// The open encoder of our kernels, made when there is none.
    apple::metal::ComputeEncoder& encoder();
    /// The command buffer with no encoder open, for kernels of MPS.
    apple::metal::CommandBuffer& commands();

   private:
    MpsStream& stream_;
    std::unique_lock<std::mutex> lock_;
  };

  /// Where kernels report an index out of range.
  const apple::metal::Buffer& fault_record();
  /// A buffer to bind where an operand was left out.
  const apple::metal::Buffer& nothing() { return fault_record(); }

 private:
  Batch& open_batch();
  void commit_open();
  void drop_ended();
  bool is_idle();
  std::optional<Error> take_fault();

  MpsBackend& backend_;
  std::mutex mutex_;
  std::shared_ptr<Batch> open_;
  std::optional<apple::metal::ComputeEncoder> encoder_;  // of open_
  std::deque<std::shared_ptr<Batch>>
      committed_;                 // and those of other streams that this one waits for
  std::shared_ptr<Batch> last_;   // committed by this stream
  std::optional<Error> failure_;  // the first since the last wait
  std::optional<apple::metal::Buffer> fault_;
};

/// A place between the command buffers of a stream.
class MpsEvent final : public Event {
 public:
  bool is_complete() const override;
  void synchronize() override;

  /// The last command buffer before it; null when there was none.
  void set(std::shared_ptr<Batch> batch) noexcept { batch_ = std::move(batch); }
  const std::shared_ptr<Batch>& batch() const noexcept { return batch_; }

 private:
  std::shared_ptr<Batch> batch_;
};

/// The stream as one of this backend: launches never bring another device's.
MpsStream& mps_stream(Stream& stream);

/// Memory for the work that is enqueued while it lives: freed memory is reused in stream order.
class Scratch {
 public:
  Scratch(Stream& stream, std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const noexcept { return block_.data; }

 private:
  CachingAllocator& allocator_;
  Block block_;
};

}  // namespace wick::mps

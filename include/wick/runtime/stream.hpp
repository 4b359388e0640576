#pragma once

#include <cstdint>
#include <memory>

#include "wick/layout/device.hpp"

namespace wick {

/// A point in a stream's work that other streams or the host can wait for.
class Event {
 public:
  virtual ~Event() = default;
  /// True when everything recorded before the event has finished (also before it is recorded).
  virtual bool is_complete() const = 0;
  /// Blocks the host until is_complete(). Throws what the stream failed with.
  virtual void synchronize() = 0;
};

/// A recorded sequence of launches that can be repeated at the cost of one.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Number of recorded launches.
  virtual std::int64_t num_launches() const = 0;
};

/// An ordered queue of work on one device. Ops enqueue on the current stream and return; the host
/// waits only in synchronize() or when a value is read.
class Stream : public std::enable_shared_from_this<Stream> {
 public:
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// The device whose work this is.
  Device device() const noexcept { return device_; }
  /// Unique over all streams of the process; 0 is never used.
  std::uint64_t id() const noexcept { return id_; }

  /// Makes `event` complete once all work enqueued so far is.
  virtual void record(Event& event) = 0;
  /// Work enqueued from now on starts after `event` is complete.
  virtual void wait(Event& event) = 0;
  /// Blocks the host until the queue is empty; throws the first failure of a launch since the last wait.
  virtual void synchronize() = 0;

  /// True where launches can be captured into a Graph.
  virtual bool supports_capture() const noexcept { return false; }
  /// From now on launches are recorded instead of run, and what must be waited for or comes from the host is Error
  /// kUnsupported. What is recorded uses memory of its own, or with `beside` what that graph has freed in its own:
  /// the two must not run at the same time. Throws Error kUnsupported where not supported.
  virtual void begin_capture(const Graph* beside = nullptr);
  /// Ends capture. Throws Error kArgument when none was begun.
  virtual std::unique_ptr<Graph> end_capture();
  /// Enqueues the recorded launches again. Throws Error kUnsupported where not supported.
  virtual void replay(const Graph& graph);

 protected:
  /// For backends: gives the stream its id.
  explicit Stream(Device device);

 private:
  Device device_;
  std::uint64_t id_;
};

/// A new stream of `device`. Throws Error kDevice when the device is absent.
std::shared_ptr<Stream> make_stream(Device device);

/// A new event of `device`. Throws Error kDevice when the device is absent.
std::unique_ptr<Event> make_event(Device device);

/// The stream on which this thread's ops on `device` run: the innermost StreamGuard's, else the
/// device's default stream. Throws Error kDevice when the device is absent.
Stream& current_stream(Device device);

/// Waits for the current stream of `device`.
void synchronize(Device device);

/// While it lives, this thread's ops on the stream's device run on `stream`. Guards nest.
class StreamGuard {
 public:
  /// Makes `stream` current for this thread.
  explicit StreamGuard(std::shared_ptr<Stream> stream);
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  std::shared_ptr<Stream> stream_;
};

}  // namespace wick

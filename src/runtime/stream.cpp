#include "wick/runtime/stream.hpp"

#include <atomic>
#include <utility>
#include <vector>

#include "runtime/backend.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

std::uint64_t next_stream_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

// Innermost last; a handful at most, so a search is cheap.
thread_local std::vector<Stream*> guarded_streams;

Error no_capture(Device device) {
  return {ErrorKind::kUnsupported, "stream", to_string(device) + " cannot capture launches"};
}

}  // namespace

Stream::Stream(Device device) : device_(device), id_(next_stream_id()) {}

void Stream::begin_capture(const Graph* /*beside*/) { throw no_capture(device_); }
std::unique_ptr<Graph> Stream::end_capture() { throw no_capture(device_); }
void Stream::replay(const Graph& /*graph*/) { throw no_capture(device_); }

std::shared_ptr<Stream> make_stream(Device device) { return backend_of(device).make_stream(); }

std::unique_ptr<Event> make_event(Device device) { return backend_of(device).make_event(); }

Stream& current_stream(Device device) {
  for (auto it = guarded_streams.rbegin(); it != guarded_streams.rend(); ++it) {
    if ((*it)->device() == device) return **it;
  }
  return backend_of(device).default_stream();
}

void synchronize(Device device) { current_stream(device).synchronize(); }

StreamGuard::StreamGuard(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {
  if (stream_ == nullptr) {
    throw Error(ErrorKind::kArgument, "StreamGuard", "the stream must not be null");
  }
  guarded_streams.push_back(stream_.get());
}

StreamGuard::~StreamGuard() { guarded_streams.pop_back(); }

}  // namespace wick

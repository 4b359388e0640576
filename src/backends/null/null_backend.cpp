#include "backends/null/null_backend.hpp"

#include <cstring>
#include <utility>

#include "backends/null/null_allocator.hpp"
#include "backends/null/null_kernels.hpp"
#include "runtime/capture.hpp"

namespace wick::null {

namespace {

class NullEvent final : public Event {
 public:
  bool is_complete() const override { return true; }
  void synchronize() override {}
};

class NullGraph final : public Graph {
 public:
  explicit NullGraph(std::vector<Launch> recorded) : launches(std::move(recorded)) {}
  std::int64_t num_launches() const override { return static_cast<std::int64_t>(launches.size()); }

  const std::vector<Launch> launches;
};

class NullBackend final : public Backend {
 public:
  NullBackend() : allocator_(kNullDevice, system_), stream_(std::make_shared<NullStream>()) {}

  Device device() const noexcept override { return kNullDevice; }
  const KernelTable& kernels() const noexcept override { return kernel_table(); }
  CachingAllocator& allocator() noexcept override { return allocator_; }
  Stream& default_stream() noexcept override { return *stream_; }
  std::shared_ptr<Stream> make_stream() override { return std::make_shared<NullStream>(); }
  std::unique_ptr<Event> make_event() override { return std::make_unique<NullEvent>(); }
  std::span<const std::string_view> variants(std::string_view /*kernel*/) const noexcept override {
    return {};
  }
  void copy_from_host(Stream& stream, void* /*device_dst*/, const void* /*host_src*/,
                      std::size_t bytes) override {
    if (null_stream(stream).is_capturing()) throw host_in_capture(device());
    null_stream(stream).enqueue(
        {.kernel = "copy_from_host", .operands = {}, .bytes = static_cast<std::int64_t>(bytes)});
  }
  void copy_to_host(Stream& stream, void* host_dst, const void* /*device_src*/,
                    std::size_t bytes) override {
    null_stream(stream).enqueue(
        {.kernel = "copy_to_host", .operands = {}, .bytes = static_cast<std::int64_t>(bytes)});
    stream.synchronize();
    if (bytes > 0) std::memset(host_dst, 0, bytes);
  }

 private:
  ZeroedAllocator system_;
  CachingAllocator allocator_;
  std::shared_ptr<NullStream> stream_;
};

}  // namespace

NullStream::NullStream() : Stream(kNullDevice) {}

void NullStream::record(Event& /*event*/) {}
void NullStream::wait(Event& /*event*/) {}

void NullStream::synchronize() {
  const std::lock_guard lock(mutex_);
  if (capturing_) throw host_in_capture(device());
  ++num_waits_;
}

void NullStream::begin_capture(const Graph* /*beside*/) {
  const std::lock_guard lock(mutex_);
  if (capturing_) throw Error(ErrorKind::kArgument, "stream", "capture has begun already");
  capturing_ = true;
}

std::unique_ptr<Graph> NullStream::end_capture() {
  const std::lock_guard lock(mutex_);
  if (!capturing_) throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
  capturing_ = false;
  return std::make_unique<NullGraph>(std::exchange(captured_, {}));
}

void NullStream::replay(const Graph& graph) {
  const auto* const recorded = dynamic_cast<const NullGraph*>(&graph);
  if (recorded == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the graph was captured on another device");
  }
  for (const Launch& launch : recorded->launches) enqueue(launch);
}

void NullStream::enqueue(Launch launch) {
  const std::lock_guard lock(mutex_);
  (capturing_ ? captured_ : launches_).push_back(std::move(launch));
}

bool NullStream::is_capturing() const {
  const std::lock_guard lock(mutex_);
  return capturing_;
}

std::vector<Launch> NullStream::take_launches() {
  const std::lock_guard lock(mutex_);
  return std::exchange(launches_, {});
}

std::int64_t NullStream::num_waits() const {
  const std::lock_guard lock(mutex_);
  return num_waits_;
}

NullStream& null_stream(Stream& stream) {
  auto* const found = dynamic_cast<NullStream*>(&stream);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "null_stream",
                "the stream belongs to " + to_string(stream.device()));
  }
  return *found;
}

std::unique_ptr<Backend> make_backend() { return std::make_unique<NullBackend>(); }

}  // namespace wick::null

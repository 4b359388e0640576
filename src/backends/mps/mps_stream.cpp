#include "backends/mps/mps_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "backends/mps/copy_bytes.hpp"
#include "backends/mps/fault.hpp"
#include "backends/mps/mps_backend.hpp"

namespace wick::mps {

namespace {

thread_local std::string_view current_op;

// A command buffer stays far below the seconds after which macOS gives one up: about a second of an M1.
constexpr double kMostWork = 4e11;
constexpr int kMostKernels = 4096;

MpsEvent& mps_event(Event& event) {
  auto* const found = dynamic_cast<MpsEvent*>(&event);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the event belongs to another kind of device");
  }
  return *found;
}

Error named(const Batch& batch, const Error& error) {
  if (batch.num_kernels == 1) {
    return {error.kind(), std::string(batch.first_op), error.rule()};
  }
  return {error.kind(), std::string(batch.last_op),
          fmt::format("one of {} kernels from {} to {} failed: {}", batch.num_kernels,
                      batch.first_op, batch.last_op, error.rule())};
}

Error fault_error(const FaultRecord& fault) {
  const char* op = "mps";
  const char* operand = "index";
  if (fault.kind == kFaultEmbeddingId) {
    op = "embedding";
    operand = "ids";
  } else if (fault.kind == kFaultTarget) {
    op = "cross_entropy";
    operand = "targets";
  } else if (fault.kind == kFaultScatterIndex) {
    operand = "indices";
  }
  return {ErrorKind::kArgument, op,
          fmt::format("{}[{}] is {}, outside [0,{})", operand, fault.position, fault.value,
                      fault.bound)};
}

}  // namespace

OpScope::OpScope(std::string_view name) noexcept : outer_(std::exchange(current_op, name)) {}
OpScope::~OpScope() { current_op = outer_; }
std::string_view OpScope::current() noexcept { return current_op; }

bool Batch::has_ended() const {
  return commands.status() >= apple::metal::CommandBufferStatus::kCompleted;
}

std::optional<Error> Batch::wait() {
  try {
    commands.wait();
    return std::nullopt;
  } catch (const Error& error) {
    return named(*this, error);
  }
}

// ---- MpsStream

MpsStream::MpsStream(MpsBackend& backend) : Stream(backend.device()), backend_(backend) {}

// What was enqueued is done, as with any stream; nobody is left to be told of a failure.
MpsStream::~MpsStream() {
  encoder_.reset();
  if (open_ == nullptr) return;
  try {
    commit_open();
  } catch (const Error&) {
    return;
  }
}

void MpsStream::record(Event& event) {
  MpsEvent& own = mps_event(event);
  const std::lock_guard lock(mutex_);
  commit_open();
  own.set(last_);
}

// The event's command buffer is in the queue already and Metal keeps the order of all that touches the same buffers, so
// that the GPU needs to be told nothing; the host waits for it when it waits for this stream.
void MpsStream::wait(Event& event) {
  const auto batch = mps_event(event).batch();
  const std::lock_guard lock(mutex_);
  if (batch != nullptr) committed_.push_back(batch);
}

void MpsStream::synchronize() {
  std::vector<std::shared_ptr<Batch>> waited;
  {
    const std::lock_guard lock(mutex_);
    commit_open();
    waited.assign(committed_.begin(), committed_.end());
  }
  // Without the lock: other threads may go on encoding.
  std::optional<Error> failure;
  for (const auto& batch : waited) {
    auto error = batch->wait();
    if (!failure) failure = std::move(error);
  }
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(committed_, [&](const auto& batch) {
      return std::ranges::find(waited, batch) != waited.end();
    });
    auto earlier = std::exchange(failure_, std::nullopt);
    if (earlier) failure = std::move(earlier);
    auto fault = take_fault();
    if (!failure) failure = std::move(fault);
  }
  if (failure) throw Error(*failure);
}

void MpsStream::flush() {
  const std::lock_guard lock(mutex_);
  commit_open();
}

Batch& MpsStream::open_batch() {
  if (open_ == nullptr) open_ = std::make_shared<Batch>(backend_.queue().command_buffer());
  return *open_;
}

void MpsStream::commit_open() {
  encoder_.reset();
  if (open_ != nullptr) {
    open_->commands.commit();
    last_ = std::exchange(open_, nullptr);
    committed_.push_back(last_);
  }
  drop_ended();
}

void MpsStream::drop_ended() {
  while (!committed_.empty() && committed_.front()->has_ended()) {
    auto error = committed_.front()->wait();
    if (!failure_) failure_ = std::move(error);
    committed_.pop_front();
  }
}

bool MpsStream::is_idle() {
  drop_ended();
  return open_ == nullptr && committed_.empty();
}

const apple::metal::Buffer& MpsStream::fault_record() {
  if (!fault_) {
    const FaultRecord none{};
    fault_ = backend_.metal().buffer(std::as_bytes(std::span(&none, 1)));
  }
  return *fault_;
}

// Called when nothing that this stream enqueued is under way.
std::optional<Error> MpsStream::take_fault() {
  if (!fault_ || !is_idle()) return std::nullopt;
  FaultRecord found{};
  std::memcpy(&found, fault_->contents(), sizeof found);
  if (found.count == 0) return std::nullopt;
  const FaultRecord none{};
  std::memcpy(fault_->contents(), &none, sizeof none);
  return fault_error(found);
}

void MpsStream::upload(void* data, const void* bytes, std::size_t count) {
  if (count == 0) return;
  {
    const std::lock_guard lock(mutex_);
    if (is_idle()) {
      std::memcpy(data, bytes, count);
      return;
    }
  }
  // Into memory of its own, from where the GPU takes it in its turn: what is at `data` may be in use.
  const std::span source(static_cast<const std::byte*>(bytes), count);
  constexpr std::size_t kMostInline = 4096;
  std::optional<apple::metal::Buffer> staged;
  if (count > kMostInline) staged = backend_.metal().buffer(source);
  const OpScope scope("copy");
  copy_bytes(*this, staged, source, data);
}

void MpsStream::fill(void* data, std::byte value, std::size_t count) {
  if (count == 0) return;
  const BufferPlace place = backend_.memory().find(data);
  const OpScope scope("fill");
  Encoding encoding(*this, 0);
  encoding.commands().blit_encoder().fill(place.buffer, place.offset, count,
                                          std::to_integer<std::uint8_t>(value));
}

// ---- MpsStream::Encoding

MpsStream::Encoding::Encoding(MpsStream& stream, double work)
    : stream_(stream), lock_(stream.mutex_) {
  Batch& batch = stream_.open_batch();
  batch.last_op = OpScope::current();
  if (batch.num_kernels == 0) batch.first_op = batch.last_op;
  ++batch.num_kernels;
  batch.work += work;
}

MpsStream::Encoding::Encoding(MpsStream& stream, const apple::metal::ComputePipeline& pipeline,
                              double work)
    : Encoding(stream, work) {
  encoder().set_pipeline(pipeline);
}

MpsStream::Encoding::~Encoding() {
  const Batch& batch = *stream_.open_;
  if (batch.num_kernels < kMostKernels && batch.work < kMostWork) return;
  try {
    stream_.commit_open();
  } catch (const Error& error) {
    if (!stream_.failure_) stream_.failure_ = error;
  }
}

apple::metal::ComputeEncoder& MpsStream::Encoding::encoder() {
  if (!stream_.encoder_) stream_.encoder_ = stream_.open_->commands.compute_encoder();
  return *stream_.encoder_;
}

apple::metal::CommandBuffer& MpsStream::Encoding::commands() {
  stream_.encoder_.reset();
  return stream_.open_->commands;
}

// ---- MpsEvent

bool MpsEvent::is_complete() const { return batch_ == nullptr || batch_->has_ended(); }

void MpsEvent::synchronize() {
  if (batch_ == nullptr) return;
  if (auto failure = batch_->wait()) throw Error(*failure);
}

MpsStream& mps_stream(Stream& stream) { return static_cast<MpsStream&>(stream); }

Scratch::Scratch(Stream& stream, std::size_t bytes)
    : allocator_(mps_stream(stream).backend().allocator()),
      block_(allocator_.allocate(bytes, stream)) {}

Scratch::~Scratch() { allocator_.release(block_, {}); }

}  // namespace wick::mps

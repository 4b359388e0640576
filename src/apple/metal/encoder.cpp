#include <numeric>

#include "apple/metal/command_buffer.hpp"
#include "apple/metal/metal_messages.hpp"
#include "apple/metal/refuse.hpp"

namespace wick::apple::metal {

using detail::check_open;
using detail::refuse;
using objc::MTLBlitCommandEncoder;
using objc::MTLComputeCommandEncoder;

namespace detail {

OpenEncoder::~OpenEncoder() {
  const AutoreleaseScope scope;
  buffer_->encoder_open = false;
  messages::end_encoding(encoder_.get());
}

const OpenEncoder& check_open(const std::unique_ptr<OpenEncoder>& open, std::string_view op) {
  if (open == nullptr) refuse(op, "the encoder was ended");
  return *open;
}

}  // namespace detail

namespace {

constexpr std::uint32_t kSlots = 31;
constexpr std::size_t kInlineBytes = 4096;
constexpr std::size_t kThreadgroupBytes = 32768;
constexpr std::size_t kThreadgroupUnit = 16;

void check_index(std::string_view op, std::uint32_t index) {
  if (index >= kSlots) refuse(op, "the index must be at most 30; got " + std::to_string(index));
}
objc::MTLSize to_mtl(Size size) { return {size.width, size.height, size.depth}; }

}  // namespace

// ---- ComputeEncoder

ComputeEncoder::ComputeEncoder(std::unique_ptr<detail::OpenEncoder> open)
    : open_(std::move(open)) {}
ComputeEncoder::ComputeEncoder(ComputeEncoder&& other) noexcept = default;
ComputeEncoder& ComputeEncoder::operator=(ComputeEncoder&& other) noexcept = default;
ComputeEncoder::~ComputeEncoder() = default;

void ComputeEncoder::set_pipeline(const ComputePipeline& pipeline) {
  messages::set_pipeline(check_open(open_, "metal.set_pipeline").as<MTLComputeCommandEncoder>(),
                         pipeline.object().get());
  pipeline_ = pipeline;
}

void ComputeEncoder::set_buffer(const Buffer& buffer, std::size_t offset, std::uint32_t index) {
  constexpr std::string_view kOp = "metal.set_buffer";
  const auto& open = check_open(open_, kOp);
  check_index(kOp, index);
  if (offset >= buffer.length()) {
    refuse(kOp, "the offset must be below the buffer's " + std::to_string(buffer.length()) +
                    " bytes; got " + std::to_string(offset));
  }
  messages::set_buffer(open.as<MTLComputeCommandEncoder>(), buffer.object().get(), offset, index);
}

void ComputeEncoder::set_bytes(std::span<const std::byte> bytes, std::uint32_t index) {
  constexpr std::string_view kOp = "metal.set_bytes";
  const auto& open = check_open(open_, kOp);
  check_index(kOp, index);
  if (bytes.empty() || bytes.size() > kInlineBytes) {
    refuse(kOp, "between 1 and 4096 bytes can be bound; got " + std::to_string(bytes.size()));
  }
  messages::set_bytes(open.as<MTLComputeCommandEncoder>(), bytes.data(), bytes.size(), index);
}

void ComputeEncoder::set_threadgroup_memory(std::size_t bytes, std::uint32_t index) {
  constexpr std::string_view kOp = "metal.set_threadgroup_memory";
  const auto& open = check_open(open_, kOp);
  check_index(kOp, index);
  if (bytes % kThreadgroupUnit != 0 || bytes > kThreadgroupBytes) {
    refuse(kOp, "the length must be a multiple of 16 of at most 32768 bytes; got " +
                    std::to_string(bytes));
  }
  messages::set_threadgroup_memory(open.as<MTLComputeCommandEncoder>(), bytes, index);
  threadgroup_bytes_[index] = bytes;
}

void ComputeEncoder::check_dispatch(const char* what, Size grid, Size per_group) const {
  check_open(open_, what);
  if (!pipeline_) refuse(what, "no pipeline is set");
  const auto is_empty = [](Size s) { return s.width == 0 || s.height == 0 || s.depth == 0; };
  if (is_empty(grid) || is_empty(per_group)) {
    refuse(what, "grid and threadgroup of " + pipeline_->name() + " must not be empty; got " +
                     detail::to_text(grid) + " and " + detail::to_text(per_group));
  }
  const std::uint64_t most = pipeline_->max_threads_per_threadgroup();
  // Each extent first: their product could overflow.
  const bool wide = per_group.width > most || per_group.height > most || per_group.depth > most;
  if (wide || per_group.width * per_group.height * per_group.depth > most) {
    refuse(what, pipeline_->name() + " runs at most " + std::to_string(most) +
                     " threads in a threadgroup; got " + detail::to_text(per_group));
  }
  constexpr std::uint64_t kMost = 0xFFFFFFFF;
  if (grid.width > kMost || grid.height > kMost || grid.depth > kMost) {
    refuse(what, "an extent of the grid must be below 2^32; got " + detail::to_text(grid));
  }
  const std::uint64_t bytes =
      std::accumulate(std::begin(threadgroup_bytes_), std::end(threadgroup_bytes_),
                      pipeline_->static_threadgroup_bytes());
  if (bytes > kThreadgroupBytes) {
    refuse(what, pipeline_->name() + " may use at most 32768 bytes of threadgroup memory; got " +
                     std::to_string(bytes));
  }
}

void ComputeEncoder::dispatch_threadgroups(Size groups, Size threads_per_group) {
  check_dispatch("metal.dispatch_threadgroups", groups, threads_per_group);
  messages::dispatch_threadgroups(open_->as<MTLComputeCommandEncoder>(), to_mtl(groups),
                                  to_mtl(threads_per_group));
}
void ComputeEncoder::dispatch_threads(Size threads, Size threads_per_group) {
  check_dispatch("metal.dispatch_threads", threads, threads_per_group);
  messages::dispatch_threads(open_->as<MTLComputeCommandEncoder>(), to_mtl(threads),
                             to_mtl(threads_per_group));
}
void ComputeEncoder::barrier() {
  constexpr std::uint64_t kBuffers = 1;  // MTLBarrierScopeBuffers
  messages::memory_barrier(check_open(open_, "metal.barrier").as<MTLComputeCommandEncoder>(),
                           kBuffers);
}
void ComputeEncoder::end() {
  check_open(open_, "metal.end");
  open_.reset();
}

// ---- BlitEncoder

BlitEncoder::BlitEncoder(std::unique_ptr<detail::OpenEncoder> open) : open_(std::move(open)) {}
BlitEncoder::BlitEncoder(BlitEncoder&& other) noexcept = default;
BlitEncoder& BlitEncoder::operator=(BlitEncoder&& other) noexcept = default;
BlitEncoder::~BlitEncoder() = default;

void BlitEncoder::fill(const Buffer& buffer, std::size_t offset, std::size_t bytes,
                       std::uint8_t value) {
  constexpr std::string_view kOp = "metal.fill";
  const auto& open = check_open(open_, kOp);
  detail::check_range(kOp, "the buffer", buffer, offset, bytes);
  messages::fill_buffer(open.as<MTLBlitCommandEncoder>(), buffer.object().get(), {offset, bytes},
                        value);
}

void BlitEncoder::copy(const Buffer& source, std::size_t source_offset, const Buffer& destination,
                       std::size_t destination_offset, std::size_t bytes) {
  constexpr std::string_view kOp = "metal.copy";
  constexpr std::size_t kUnit = 4;
  const auto& open = check_open(open_, kOp);
  if (source_offset % kUnit != 0 || destination_offset % kUnit != 0 || bytes % kUnit != 0) {
    refuse(kOp, "offsets and size must be multiples of 4; got " + std::to_string(source_offset) +
                    ", " + std::to_string(destination_offset) + ", " + std::to_string(bytes));
  }
  detail::check_range(kOp, "the source", source, source_offset, bytes);
  detail::check_range(kOp, "the destination", destination, destination_offset, bytes);
  const bool same = source.object().get() == destination.object().get();
  if (same && source_offset < destination_offset + bytes &&
      destination_offset < source_offset + bytes) {
    refuse(kOp, "source and destination must not overlap; got offsets " +
                    std::to_string(source_offset) + " and " + std::to_string(destination_offset) +
                    " for " + std::to_string(bytes) + " bytes of one buffer");
  }
  messages::copy_buffer(open.as<MTLBlitCommandEncoder>(), source.object().get(), source_offset,
                        destination.object().get(), destination_offset, bytes);
}
void BlitEncoder::end() {
  check_open(open_, "metal.end");
  open_.reset();
}

}  // namespace wick::apple::metal

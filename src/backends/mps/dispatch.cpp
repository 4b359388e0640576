#include "backends/mps/dispatch.hpp"

#include <algorithm>

#include "backends/mps/mps_backend.hpp"

namespace wick::mps {

namespace {

// Before the encoding begins: a kernel that cannot be compiled leaves nothing behind.
const apple::metal::ComputePipeline& pipeline_of(MpsStream& stream, const KernelId& kernel) {
  MpsBackend& backend = stream.backend();
  return backend.library().pipeline(backend.metal(), kernel);
}

}  // namespace

Dispatch::Dispatch(Stream& stream, const KernelId& kernel, double work)
    : stream_(mps_stream(stream)),
      encoding_(stream_, pipeline_of(stream_, kernel), work),
      encoder_(encoding_.encoder()) {}

Dispatch& Dispatch::buffer(const TensorView& view) {
  return memory(view && view.numel() > 0 ? view.data : nullptr);
}

Dispatch& Dispatch::memory(const void* data) {
  if (data == nullptr) return metal_buffer(stream_.nothing());
  const BufferPlace place = stream_.backend().memory().find(data);
  return metal_buffer(place.buffer, place.offset);
}

Dispatch& Dispatch::metal_buffer(const apple::metal::Buffer& buffer, std::size_t offset) {
  encoder_.set_buffer(buffer, offset, next_++);
  return *this;
}

Dispatch& Dispatch::bytes(std::span<const std::byte> copied) {
  encoder_.set_bytes(copied, next_++);
  return *this;
}

void Dispatch::groups(apple::metal::Size count, apple::metal::Size threads_per_group) {
  encoder_.dispatch_threadgroups(count, threads_per_group);
}

void Dispatch::threads(apple::metal::Size count, apple::metal::Size threads_per_group) {
  encoder_.dispatch_threads(count, threads_per_group);
}

void Dispatch::items(std::int64_t count) {
  constexpr std::int64_t kMostThreads = std::int64_t{1} << 22;
  constexpr std::int64_t kPerGroup = 256;
  const auto threads_in_all = static_cast<std::uint64_t>(std::min(count, kMostThreads));
  threads({threads_in_all}, {std::min<std::uint64_t>(threads_in_all, kPerGroup)});
}

void Dispatch::elements(std::int64_t rows, std::int64_t columns) {
  constexpr std::uint64_t kPerGroup = 256;
  const auto across = static_cast<std::uint64_t>(columns);
  const auto down = static_cast<std::uint64_t>(rows);
  const std::uint64_t x = std::min(across, kPerGroup);
  threads({across, down}, {x, std::min(down, kPerGroup / x)});
}

}  // namespace wick::mps

#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "backends/mps/kernel_cache.hpp"
#include "backends/mps/kernel_library.hpp"
#include "backends/mps/memory_map.hpp"
#include "backends/mps/mps_allocator.hpp"
#include "backends/mps/mps_stream.hpp"
#include "backends/mps/way_choice.hpp"
#include "runtime/backend.hpp"
#include "wick/apple/metal.hpp"

namespace wick::mps {

/// The GPU of a Mac, or software Metal on other systems. Nothing of Metal's is made before the device is used: it costs a
/// process nothing that computes elsewhere.
class MpsBackend final : public Backend {
 public:
  MpsBackend();
  ~MpsBackend() override;
  MpsBackend(const MpsBackend&) = delete;
  MpsBackend& operator=(const MpsBackend&) = delete;

  Device device() const noexcept override { return {DeviceType::kMps, 0}; }
  std::string description() const override;
  const KernelTable& kernels() const noexcept override;
  CachingAllocator& allocator() noexcept override { return allocator_; }
  Stream& default_stream() noexcept override { return *default_stream_; }
  std::shared_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  std::span<const std::string_view> variants(std::string_view kernel) const noexcept override;
  void copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                      std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                    std::size_t bytes) override;

  std::shared_ptr<void> share_host_memory(std::span<std::byte> memory,
                                          const std::shared_ptr<void>& owner) override;

  /// Stores what it measures in ways_file(). Throws Error kArgument for options without a round, kIo without such a file.
  TuneReport tune(const std::function<void()>& work, const TuneOptions& options) override;

  /// The way that was measured to be best for calls of this shape; empty where none was.
  std::string_view best_way(const CallShape& shape);

  /// Metal's device. Throws Error kDevice when there is none that Wick can use.
  const apple::metal::Device& metal() const;
  /// The one queue of the device, which all streams share.
  const apple::metal::CommandQueue& queue();
  KernelLibrary& library() noexcept { return library_; }
  MemoryMap& memory() noexcept { return memory_; }
  KernelCache& mps_kernels() noexcept { return mps_kernels_; }

 private:
  void read_ways() const;

  mutable std::once_flag metal_made_;
  mutable std::optional<apple::metal::Device> metal_;
  std::once_flag queue_made_;
  std::optional<apple::metal::CommandQueue> queue_;
  KernelLibrary library_;
  MemoryMap memory_;
  KernelCache mps_kernels_;
  mutable std::once_flag ways_read_;
  mutable std::string ways_problem_;  // why what was measured before cannot be used
  mutable WayChoice ways_;
  BufferAllocator system_;
  CachingAllocator allocator_;
  std::shared_ptr<Stream> default_stream_;
};

}  // namespace wick::mps

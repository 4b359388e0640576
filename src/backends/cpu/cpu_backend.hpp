#pragma once

#include <memory>
#include <mutex>

#include "backends/cpu/cpu_allocator.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "base/thread_pool.hpp"
#include "runtime/backend.hpp"

namespace wick::cpu {

/// The host processor as a device.
class CpuBackend final : public Backend {
 public:
  CpuBackend();

  Device device() const noexcept override { return kCpuDevice; }
  const KernelTable& kernels() const noexcept override;
  CachingAllocator& allocator() noexcept override { return allocator_; }
  Stream& default_stream() noexcept override { return *default_stream_; }
  std::shared_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  std::span<const std::string_view> variants(std::string_view kernel) const noexcept override;
  void variant_forced(std::string_view kernel, std::string_view variant) override;
  void copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                      std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                    std::size_t bytes) override;

  /// The threads that kernels share; made anew when the setting has changed.
  std::shared_ptr<detail::ThreadPool> pool();

 private:
  HostAllocator host_;
  CachingAllocator allocator_;
  std::shared_ptr<Stream> default_stream_;
  std::mutex pool_mutex_;
  std::shared_ptr<detail::ThreadPool> pool_;
};

std::unique_ptr<Backend> make_backend();

}  // namespace wick::cpu

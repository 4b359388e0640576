#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/allocator.hpp"
#include "runtime/kernel_table.hpp"
#include "wick/layout/device.hpp"
#include "wick/runtime/communicator.hpp"
#include "wick/runtime/stream.hpp"
#include "wick/runtime/tune.hpp"

namespace wick {

namespace detail {
class HostCommunicator;
}

/// One device as the layers above see it: memory, streams, kernels and transfers.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual Device device() const noexcept = 0;
  /// What it is, for people: "NVIDIA H100, 79.1 GiB, …"; empty where there is nothing to add to the name.
  virtual std::string description() const { return {}; }
  virtual const KernelTable& kernels() const noexcept = 0;
  virtual CachingAllocator& allocator() noexcept = 0;
  /// The stream used where no StreamGuard is; safe to use from any thread.
  virtual Stream& default_stream() noexcept = 0;  // owned by a shared_ptr
  virtual std::shared_ptr<Stream> make_stream() = 0;
  virtual std::unique_ptr<Event> make_event() = 0;

  /// Variants of `kernel`, best first; empty when there is only one.
  virtual std::span<const std::string_view> variants(std::string_view kernel) const noexcept = 0;
  /// Called after force_variant() for backends that keep a choice of their own.
  virtual void variant_forced(std::string_view /*kernel*/, std::string_view /*variant*/) {}

  /// Transfers of contiguous bytes, in stream order; the host side may be reused on return.
  virtual void copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                              std::size_t bytes) = 0;
  virtual void copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                            std::size_t bytes) = 0;

  /// Lets this device work on memory of the host, copied nowhere, that `owner` keeps alive. Answers what has to live as long
  /// as the device's tensors on it do; null where the device cannot.
  virtual std::shared_ptr<void> share_host_memory(std::span<std::byte> /*memory*/,
                                                  const std::shared_ptr<void>& /*owner*/) {
    return nullptr;
  }

  /// As tune() of wick/runtime/tune.hpp.
  virtual TuneReport tune(const std::function<void()>& work, const TuneOptions& options);

  /// Joins this device with those of the other ranks, which `host` has met. Throws Error kUnsupported where there is no
  /// way to.
  virtual std::shared_ptr<Communicator> make_communicator(
      std::unique_ptr<detail::HostCommunicator> host);
};

/// The backend of `device`. Throws Error kDevice listing the devices that are present.
Backend& backend_of(Device device);

/// Throws Error kArgument when the environment forces a variant that none of `backends` has.
void check_forced_variants(std::span<const std::unique_ptr<Backend>> backends);

/// Every backend, the CPU first.
std::span<const std::unique_ptr<Backend>> all_backends();

/// Makes one backend per usable device; `absent` receives what was looked for and cannot be used, with the
/// reason. Declared here and defined by the folder of the backends: the one place where this layer is
/// completed from above, at link time.
std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent);

}  // namespace wick

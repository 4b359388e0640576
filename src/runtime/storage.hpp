#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/allocator.hpp"
#include "wick/layout/device.hpp"

namespace wick {

class Backend;

/// Owns the bytes that tensors share, and counts the in-place writes to them.
class Storage {
  struct Private {  // keeps the constructor to ourselves and yet open to make_shared
    explicit Private() = default;
  };

 public:
  /// Fresh memory of the device, for use on the current stream; contents are undefined.
  static std::shared_ptr<Storage> allocate(Device device, std::size_t bytes);

  /// Memory owned by somebody else, kept alive by `owner` (a mapped file, say).
  static std::shared_ptr<Storage> wrap(Device device, std::span<std::byte> memory,
                                       std::shared_ptr<void> owner);

  /// Use allocate() or wrap().
  Storage(Private, Device device, std::byte* data, std::size_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const noexcept { return device_; }
  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }
  /// Who keeps the memory of wrap(); null for memory of allocate().
  const std::shared_ptr<void>& owner() const noexcept { return owner_; }

  /// Number of in-place writes so far; a saved tensor remembers it.
  std::uint64_t version() const noexcept { return version_.load(std::memory_order_relaxed); }
  void bump_version() noexcept { version_.fetch_add(1, std::memory_order_relaxed); }

  /// Notes that work on the current stream uses the bytes, so that they are not reused too early.
  void note_use();

 private:
  Device device_;
  std::byte* data_;
  std::size_t bytes_;
  std::atomic<std::uint64_t> version_{0};
  Backend* backend_ = nullptr;  // set when block_ must go back to its allocator
  Block block_;
  std::shared_ptr<void> owner_;
  std::mutex users_mutex_;
  std::vector<std::shared_ptr<Stream>> other_users_;
};

}  // namespace wick

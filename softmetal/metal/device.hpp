#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "softmetal/objc/blocks.hpp"
#include "softmetal/objc/root.hpp"

// MTLDevice and MTLBuffer.

namespace softmetal {

/// What Metal's tables say of Apple silicon.
namespace limits {
inline constexpr std::uint64_t kThreadsPerGroup = 1024;
inline constexpr std::uint64_t kThreadgroupBytes = 32 * 1024;
inline constexpr std::uint64_t kBuffers = 31;
inline constexpr std::uint64_t kInlineBytes = 4096;
inline constexpr std::uint64_t kSimdWidth = 32;
inline constexpr std::uint64_t kPageBytes = 16 * 1024;
inline constexpr std::uint64_t kBufferBytes = std::uint64_t{8} << 30;
inline constexpr std::uint64_t kCommandBuffers = 64;
}  // namespace limits

class DeviceState final : public State {};

/// MTLStorageMode and MTLResourceOptions.
inline constexpr std::uint64_t kShared = 0;
inline constexpr std::uint64_t kPrivate = 2;
constexpr std::uint64_t storage_mode(std::uint64_t options) { return (options >> 4) & 0xF; }

class BufferState final : public State {
 public:
  /// Memory of its own, filled with bytes that are a NaN in every floating type.
  BufferState(DeviceState& device, std::uint64_t length, std::uint64_t options, std::byte* memory);
  /// Memory of the caller, who is told when it is no longer used.
  BufferState(DeviceState& device, std::byte* memory, std::uint64_t length, std::uint64_t options,
              std::optional<BlockCopy> deallocator);
  ~BufferState() override;

  Hold<DeviceState> device;
  const std::uint64_t length;
  const std::uint64_t options;
  std::string label;

  bool is_private() const { return storage_mode(options) == kPrivate; }
  std::byte* bytes() const { return memory_; }
  /// A fault unless [offset, offset + count) lies inside.
  void check_range(const char* what, std::uint64_t offset, std::uint64_t count) const;

 private:
  std::byte* const memory_;
  const bool owned_;
  std::optional<BlockCopy> deallocator_;
};

/// A private MTLBuffer, +1; null where the memory is not there.
Object* new_private_buffer(DeviceState& device, std::uint64_t length);
/// The one device: +0.
DeviceState& system_device();
void register_device();

}  // namespace softmetal

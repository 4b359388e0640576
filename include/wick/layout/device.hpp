#pragma once

#include <string>
#include <string_view>

namespace wick {

/// Kinds of device that Wick knows by name; which of them are present is a run-time question.
enum class DeviceType { kCpu, kNull, kCuda, kMps };

/// The name of a device kind: "cpu", "null", "cuda", "mps".
std::string_view to_string(DeviceType type) noexcept;

/// Names one device. A plain value; it does not say that the device exists.
struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;

  friend bool operator==(const Device&, const Device&) = default;
};

/// The host processor.
inline constexpr Device kCpuDevice{DeviceType::kCpu, 0};
/// The device that records launches and computes nothing.
inline constexpr Device kNullDevice{DeviceType::kNull, 0};

/// "cpu", "null", "mps", "cuda:0".
std::string to_string(Device device);

/// Reads what to_string() writes; "cuda" means "cuda:0". Throws Error kArgument naming the text.
Device parse_device(std::string_view text);

}  // namespace wick

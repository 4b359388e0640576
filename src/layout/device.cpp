#include "wick/layout/device.hpp"

#include <fmt/format.h>

#include <charconv>

#include "wick/base/error.hpp"

namespace wick {

std::string_view to_string(DeviceType type) noexcept {
  switch (type) {
    case DeviceType::kCpu:
      return "cpu";
    case DeviceType::kNull:
      return "null";
    case DeviceType::kCuda:
      return "cuda";
    case DeviceType::kMps:
      return "mps";
  }
  return "unknown";
}

std::string to_string(Device device) {
  const std::string_view name = to_string(device.type);
  if (device.type != DeviceType::kCuda && device.index == 0) return std::string(name);
  return fmt::format("{}:{}", name, device.index);
}

Device parse_device(std::string_view text) {
  const auto refuse = [&] {
    return Error(ErrorKind::kArgument, "parse_device",
                 fmt::format("expected cpu, null, mps, cuda or cuda:<index>, got \"{}\"", text));
  };
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  Device device;
  bool known = false;
  for (const DeviceType type :
       {DeviceType::kCpu, DeviceType::kNull, DeviceType::kCuda, DeviceType::kMps}) {
    if (name == to_string(type)) {
      device.type = type;
      known = true;
    }
  }
  if (!known) throw refuse();
  if (colon == std::string_view::npos) return device;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, status] =
      std::from_chars(digits.data(), digits.data() + digits.size(), device.index);
  if (status != std::errc{} || end != digits.data() + digits.size() || device.index < 0) {
    throw refuse();
  }
  return device;
}

}  // namespace wick

#include "runtime/backend.hpp"

#include <fmt/format.h>

#include "runtime/host_communicator.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/settings.hpp"

namespace wick {

namespace {

struct Registry {
  std::vector<std::unique_ptr<Backend>> backends;
  std::vector<std::string> absent;
};

// Made at first use and never destroyed: tensors in static storage may outlive main().
const Registry& registry() {
  static const auto* const instance = [] {
    auto made = std::make_unique<Registry>();
    made->backends = make_backends(made->absent);
    check_forced_variants(made->backends);
    return made.release();
  }();
  return *instance;
}

}  // namespace

std::shared_ptr<Communicator> Backend::make_communicator(
    std::unique_ptr<detail::HostCommunicator> host) {
  if (device().type == DeviceType::kCpu) return host;
  throw Error(ErrorKind::kUnsupported, "ranks",
              to_string(device()) + " cannot be joined with the devices of other processes");
}

TuneReport Backend::tune(const std::function<void()>& /*work*/, const TuneOptions& /*options*/) {
  throw Error(ErrorKind::kUnsupported, "tune",
              to_string(device()) + " has no ways that a measurement could choose between");
}

TuneReport tune(Device device, const std::function<void()>& work, const TuneOptions& options) {
  return backend_of(device).tune(work, options);
}

std::span<const std::unique_ptr<Backend>> all_backends() { return registry().backends; }

std::vector<std::string> absent_devices() { return registry().absent; }

std::string device_description(Device device) { return backend_of(device).description(); }

Backend& backend_of(Device device) {
  for (const auto& backend : all_backends()) {
    if (backend->device() == device) return *backend;
  }
  std::string present;
  for (const auto& backend : all_backends()) {
    present += (present.empty() ? "" : ", ") + to_string(backend->device());
  }
  std::string hint;
  for (const std::string& reason : absent_devices()) {
    hint += (hint.empty() ? "not usable here: " : "; ") + reason;
  }
  throw Error(ErrorKind::kDevice, "device",
              fmt::format("{} is not present; present are {}", to_string(device), present), {},
              std::move(hint));
}

std::vector<Device> devices() {
  std::vector<Device> result;
  for (const auto& backend : all_backends()) result.push_back(backend->device());
  return result;
}

MemoryStats memory_stats(Device device) { return backend_of(device).allocator().stats(); }

void reset_peak_memory(Device device) { backend_of(device).allocator().reset_peak(); }

void empty_cache(Device device) { backend_of(device).allocator().empty_cache(); }

void set_memory_limit(Device device, std::int64_t bytes) {
  if (bytes < 0) {
    throw Error(ErrorKind::kArgument, "set_memory_limit",
                fmt::format("bytes must not be negative, got {}", bytes));
  }
  backend_of(device).allocator().set_limit(static_cast<std::size_t>(bytes));
}

void set_allocation_guard(Device device, bool enabled) {
  backend_of(device).allocator().set_guard(enabled);
}

}  // namespace wick

#include "backends/mps/mps_backend.hpp"

#include <fmt/format.h>

#include <cstring>

#include "backends/mps/mps_backends.hpp"
#include "backends/mps/mps_kernels.hpp"

namespace wick::mps {

MpsBackend::MpsBackend(const apple::metal::Device& metal)
    : metal_(metal),
      system_(*this),
      allocator_({DeviceType::kMps, 0}, system_),
      default_stream_(std::make_shared<MpsStream>(*this)) {}

MpsBackend::~MpsBackend() { allocator_.empty_cache(); }

std::string MpsBackend::description() const {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  return fmt::format("{}, {:.1f} GiB to work with{}", metal_.name(),
                     static_cast<double>(metal_.recommended_working_set()) / kGiB,
                     metal_.has_unified_memory() ? ", memory shared with the CPU" : "");
}

const KernelTable& MpsBackend::kernels() const noexcept {
  static constexpr KernelTable kTable{
#define WICK_KERNEL(id, Args) .id = &mps::id,
#include "runtime/op_catalog.def"
  };
  return kTable;
}

std::shared_ptr<Stream> MpsBackend::make_stream() { return std::make_shared<MpsStream>(*this); }

std::unique_ptr<Event> MpsBackend::make_event() { return std::make_unique<MpsEvent>(); }

std::span<const std::string_view> MpsBackend::variants(std::string_view kernel) const noexcept {
  static constexpr std::string_view kLoraLinear[] = {"few_rows", "mps", "fused"};
  static constexpr std::string_view kMatmul[] = {"few_rows", "mps", "tiles"};
  if (kernel == "lora_linear") return kLoraLinear;
  if (kernel == "matmul") return kMatmul;
  return {};
}

const apple::metal::CommandQueue& MpsBackend::queue() {
  std::call_once(queue_made_, [this] { queue_ = metal_.queue(); });
  return *queue_;
}

void MpsBackend::copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                                std::size_t bytes) {
  mps_stream(stream).upload(device_dst, host_src, bytes);
}

// Memory that is shared needs no transfer, only the end of the work that writes it.
void MpsBackend::copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                              std::size_t bytes) {
  stream.synchronize();
  if (bytes > 0) std::memcpy(host_dst, device_src, bytes);
}

std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent) {
  std::vector<std::unique_ptr<Backend>> backends;
  const auto metal = apple::metal::Device::system_default();
  if (!metal) {
    absent.emplace_back("mps: Metal knows no GPU here");
  } else if (!metal->supports_mps()) {
    absent.push_back("mps: " + metal->name() + " cannot run Metal Performance Shaders");
  } else if (!metal->has_unified_memory()) {
    absent.push_back("mps: " + metal->name() + " does not share memory with the CPU");
  } else {
    backends.push_back(std::make_unique<MpsBackend>(*metal));
  }
  return backends;
}

}  // namespace wick::mps

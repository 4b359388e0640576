#include "backends/cpu/cpu_backend.hpp"

#include <cstring>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/instruction_set.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cpu {

CpuBackend::CpuBackend()
    : allocator_(kCpuDevice, host_), default_stream_(std::make_shared<CpuStream>(*this)) {
  select_instruction_set(forced_variant("isa"));
}

const KernelTable& CpuBackend::kernels() const noexcept {
  static constexpr KernelTable kTable{
#define WICK_KERNEL(id, Args) .id = &cpu::id,
#include "runtime/op_catalog.def"
  };
  return kTable;
}

std::shared_ptr<Stream> CpuBackend::make_stream() { return std::make_shared<CpuStream>(*this); }

std::unique_ptr<Event> CpuBackend::make_event() { return std::make_unique<CpuEvent>(); }

std::span<const std::string_view> CpuBackend::variants(std::string_view kernel) const noexcept {
  if (kernel == "matmul") return gemm_variants();
  if (kernel == "isa") return instruction_sets();
  return {};
}

void CpuBackend::variant_forced(std::string_view kernel, std::string_view variant) {
  if (kernel == "isa") select_instruction_set(variant);
}

void CpuBackend::copy_from_host(Stream& /*stream*/, void* device_dst, const void* host_src,
                                std::size_t bytes) {
  if (bytes > 0) std::memcpy(device_dst, host_src, bytes);
}

void CpuBackend::copy_to_host(Stream& /*stream*/, void* host_dst, const void* device_src,
                              std::size_t bytes) {
  if (bytes > 0) std::memcpy(host_dst, device_src, bytes);
}

std::shared_ptr<detail::ThreadPool> CpuBackend::pool() {
  const std::lock_guard lock(pool_mutex_);
  const int wanted = num_threads();
  if (pool_ == nullptr || pool_->num_threads() != wanted) {
    pool_ = std::make_shared<detail::ThreadPool>(wanted);
  }
  return pool_;
}

std::unique_ptr<Backend> make_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace wick::cpu

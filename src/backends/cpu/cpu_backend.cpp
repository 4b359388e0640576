#include "backends/cpu/cpu_backend.hpp"

#include <cstring>
#include <vector>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/instruction_set.hpp"
#include "runtime/args/all_args.hpp"
#include "runtime/launch.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cpu {

namespace {

// A capture's own copy of what a kernel is called with: the tensors of an optimizer's step are in memory of the caller.
template <class Args>
struct KeptArgs {
  explicit KeptArgs(const Args& given) : args(given) {}
  const Args& get() const { return args; }
  Args args;
};

template <class Args>
  requires requires(const Args& args) { args.tensors.begin(); }
struct KeptArgs<Args> {
  using Tensor = typename decltype(Args::tensors)::value_type;
  explicit KeptArgs(const Args& given)
      : args(given), tensors(given.tensors.begin(), given.tensors.end()) {}
  Args get() const {
    Args own = args;
    own.tensors = tensors;
    return own;
  }
  Args args;
  std::vector<Tensor> tensors;
};

// What the table holds: the kernel, or a note of it where the thread captures.
template <const auto& kKernel, auto kFunction, class Args>
KernelStatus run_or_keep(Stream& stream, const Args& args) {
  if (!cpu_stream(stream).is_capturing()) return kFunction(stream, args);
  cpu_stream(stream).keep([kept = KeptArgs<Args>(args)](Stream& at) {
    const KernelStatus status = kFunction(at, kept.get());
    if (!status.is_ok()) {
      throw_refused(kKernel.name, kCpuDevice, status, describe(kept.get()));
    }
  });
  return KernelStatus::ok();
}

constexpr KernelTable make_table() {
  KernelTable table{
#define WICK_KERNEL(id, Args) .id = &run_or_keep<kernels::id, &cpu::id, Args>,
#include "runtime/op_catalog.def"
  };
  // Ops go on without these, which the CPU refuses: they must hear of it while they are captured.
  table.decode_attention = &cpu::decode_attention;
  table.lora_swiglu = &cpu::lora_swiglu;
  table.lora_swiglu_backward = &cpu::lora_swiglu_backward;
  return table;
}

}  // namespace

CpuBackend::CpuBackend()
    : allocator_(kCpuDevice, host_), default_stream_(std::make_shared<CpuStream>(*this)) {
  select_instruction_set(forced_variant("isa"));
}

const KernelTable& CpuBackend::kernels() const noexcept {
  static constexpr KernelTable kTable = make_table();
  return kTable;
}

std::shared_ptr<Stream> CpuBackend::make_stream() { return std::make_shared<CpuStream>(*this); }

std::unique_ptr<Event> CpuBackend::make_event() { return std::make_unique<CpuEvent>(); }

std::span<const std::string_view> CpuBackend::variants(std::string_view kernel) const noexcept {
  static constexpr std::string_view kAttention[] = {"double", "tiles"};
  if (kernel == "attention") return kAttention;
  if (kernel == "matmul") return gemm_variants();
  if (kernel == "isa") return instruction_sets();
  return {};
}

void CpuBackend::variant_forced(std::string_view kernel, std::string_view variant) {
  if (kernel == "isa") select_instruction_set(variant);
}

void CpuBackend::copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                                std::size_t bytes) {
  if (cpu_stream(stream).is_capturing()) throw host_in_capture(device());
  if (bytes > 0) std::memcpy(device_dst, host_src, bytes);
}

void CpuBackend::copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                              std::size_t bytes) {
  if (cpu_stream(stream).is_capturing()) throw host_in_capture(device());
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

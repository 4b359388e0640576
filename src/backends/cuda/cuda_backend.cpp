#include "backends/cuda/cuda_backend.hpp"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "backends/cuda/cuda_backends.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/cudnn_attention.hpp"
#include "backends/cuda/nccl_communicator.hpp"
#include "backends/cuda/products.hpp"
#include "runtime/capture.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

constexpr int kOldestMajor = 8;  // bf16 on the tensor cores

std::string text_of(const Fault& fault) {
  const char* operand = "index";
  if (fault.kind == FaultKind::kEmbeddingId) operand = "ids";
  if (fault.kind == FaultKind::kTarget) operand = "targets";
  if (fault.kind == FaultKind::kScatterIndex) operand = "indices";
  return fmt::format("{}[{}] is {}, outside [0,{})", operand, fault.position, fault.value,
                     fault.bound);
}

std::string op_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::kEmbeddingId:
      return "embedding";
    case FaultKind::kTarget:
      return "cross_entropy";
    default:
      return "cuda";
  }
}

// CUDA calls a machine without a driver one whose driver is too old.
std::string why_none(cudaError_t status) {
  int driver = 0;
  if (status != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver) != cudaSuccess) {
    return cudaGetErrorString(status);
  }
  if (driver == 0) return "this machine has no NVIDIA driver";
  const auto version = [](int number) {
    return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
  };
  return fmt::format("the driver knows CUDA up to {}, this build of Wick needs {}", version(driver),
                     version(CUDART_VERSION));
}

}  // namespace

CudaBackend::CudaBackend(int index)
    : index_(index), system_(index), allocator_({DeviceType::kCuda, index}, system_) {
  check(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
  make_current();
  if (properties_.major < kOldestMajor) {
    throw Error(ErrorKind::kDevice, "cuda",
                fmt::format("{} has compute capability {}.{}; 8.0 is the oldest supported",
                            properties_.name, properties_.major, properties_.minor));
  }
  overlaps_kernels_ = has_overlap_code();
  void* shared = nullptr;
  check(cudaHostAlloc(&shared, sizeof(Fault), cudaHostAllocMapped), "cudaHostAlloc");
  fault_ = static_cast<Fault*>(shared);
  *fault_ = {};
  products_ = std::make_unique<Products>();
  cudnn_attention_ = std::make_unique<CudnnAttention>(*this);
  default_stream_ = std::make_shared<CudaStream>(*this);
}

CudaBackend::~CudaBackend() {
  allocator_.empty_cache();
  cudaFreeHost(fault_);
}

std::string CudaBackend::description() const {
  return fmt::format("{}, {:.1f} GiB, compute capability {}.{}, {} multiprocessors",
                     properties_.name,
                     static_cast<double>(properties_.totalGlobalMem) / (1024.0 * 1024.0 * 1024.0),
                     properties_.major, properties_.minor, properties_.multiProcessorCount);
}

const KernelTable& CudaBackend::kernels() const noexcept {
  static constexpr KernelTable kTable{
#define WICK_KERNEL(id, Args) .id = &cuda::id,
#include "runtime/op_catalog.def"
  };
  return kTable;
}

std::shared_ptr<Stream> CudaBackend::make_stream() { return std::make_shared<CudaStream>(*this); }

std::unique_ptr<Event> CudaBackend::make_event() { return std::make_unique<CudaEvent>(*this); }

std::span<const std::string_view> CudaBackend::variants(std::string_view kernel) const noexcept {
  static constexpr std::string_view kAttention[] = {"cudnn", "plain"};
  static constexpr std::string_view kCrossEntropy[] = {"one_pass", "two_pass"};
  static constexpr std::string_view kDecodeAttention[] = {"fused", "apart"};
  static constexpr std::string_view kLoraLinear[] = {"few_rows",
                                                     "hopper",
                                                     "hopper_256",
                                                     "hopper_224",
                                                     "hopper_turns",
                                                     "hopper_64",
                                                     "hopper_256_queue",
                                                     "hopper_224_queue",
                                                     "hopper_turns_queue",
                                                     "hopper_64_queue",
                                                     "hopper_fours",
                                                     "thin",
                                                     "plain"};
  static constexpr std::string_view kMatmul[] = {"few_rows", "narrow", "cublaslt", "simple"};
  if (kernel == "attention") return kAttention;
  if (kernel == "cross_entropy") return kCrossEntropy;
  if (kernel == "decode_attention") return kDecodeAttention;
  if (kernel == "lora_linear") return kLoraLinear;
  if (kernel == "matmul") return kMatmul;
  return {};
}

std::shared_ptr<Communicator> CudaBackend::make_communicator(
    std::unique_ptr<detail::HostCommunicator> host) {
  return join_by_nccl(*this, std::move(host));
}

void CudaBackend::copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                                 std::size_t bytes) {
  if (bytes == 0) return;
  if (cuda_stream(stream).is_capturing()) throw host_in_capture(device());
  // From pageable memory: the call returns when the bytes have left it.
  check(cudaMemcpyAsync(device_dst, host_src, bytes, cudaMemcpyHostToDevice, activate(stream)),
        "copy_from_host");
}

void CudaBackend::copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                               std::size_t bytes) {
  if (cuda_stream(stream).is_capturing()) throw host_in_capture(device());
  if (bytes > 0) {
    check(cudaMemcpyAsync(host_dst, device_src, bytes, cudaMemcpyDeviceToHost, activate(stream)),
          "copy_to_host");
  }
  stream.synchronize();
}

void CudaBackend::make_current() const { check(cudaSetDevice(index_), "cudaSetDevice"); }

void CudaBackend::throw_fault() {
  const std::atomic_ref state(fault_->set);
  std::int32_t found = kFaultComplete;
  // A record that is being filled belongs to work that nobody has waited for yet.
  if (!state.compare_exchange_strong(found, kFaultHeld, std::memory_order_acquire)) return;
  const Fault seen = *fault_;
  state.store(kFaultFree, std::memory_order_release);
  throw Error(ErrorKind::kArgument, op_of(seen.kind), text_of(seen));
}

std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent) {
  std::vector<std::unique_ptr<Backend>> backends;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    absent.push_back("cuda: " + why_none(status));
    return backends;
  }
  if (const std::string missing = Products::missing_library(); !missing.empty()) {
    absent.push_back("cuda: " + missing);
    return backends;
  }
  if (count == 0) absent.emplace_back("cuda: the driver knows no GPU");
  for (int index = 0; index < count; ++index) {
    try {
      backends.push_back(std::make_unique<CudaBackend>(index));
    } catch (const Error& error) {
      absent.push_back(fmt::format("cuda:{}: {}", index, error.what()));
    }
  }
  return backends;
}

}  // namespace wick::cuda

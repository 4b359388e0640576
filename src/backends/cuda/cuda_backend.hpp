#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda_allocator.hpp"
#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/fault.hpp"
#include "runtime/backend.hpp"

namespace wick::cuda {

class CudnnAttention;
class Products;

/// One GPU as a device.
class CudaBackend final : public Backend {
 public:
  /// Throws Error kDevice when the GPU cannot be used.
  explicit CudaBackend(int index);
  ~CudaBackend() override;
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  Device device() const noexcept override { return {DeviceType::kCuda, index_}; }
  std::string description() const override;
  const KernelTable& kernels() const noexcept override;
  CachingAllocator& allocator() noexcept override { return allocator_; }
  Stream& default_stream() noexcept override { return *default_stream_; }
  std::shared_ptr<Stream> make_stream() override;
  std::unique_ptr<Event> make_event() override;
  std::span<const std::string_view> variants(std::string_view kernel) const noexcept override;
  void copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                      std::size_t bytes) override;
  void copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                    std::size_t bytes) override;
  std::shared_ptr<Communicator> make_communicator(
      std::unique_ptr<detail::HostCommunicator> host) override;

  const cudaDeviceProp& properties() const noexcept { return properties_; }
  /// Whether kernels may overlap (overlap.hpp).
  bool overlaps_kernels() const noexcept { return overlaps_kernels_; }
  /// Products by cuBLASLt.
  Products& products() noexcept { return *products_; }
  /// Attention by cuDNN.
  CudnnAttention& cudnn_attention() noexcept { return *cudnn_attention_; }
  /// Where kernels report an index out of range; readable by the host.
  Fault* fault() noexcept { return fault_; }
  /// Makes this GPU the current one of the calling thread.
  void make_current() const;
  /// Throws Error kArgument for what a kernel reported since the last call.
  void throw_fault();

 private:
  int index_;
  cudaDeviceProp properties_{};
  bool overlaps_kernels_ = false;
  DeviceAllocator system_;
  CachingAllocator allocator_;
  Fault* fault_ = nullptr;
  std::unique_ptr<Products> products_;
  std::unique_ptr<CudnnAttention> cudnn_attention_;
  std::shared_ptr<Stream> default_stream_;
};

}  // namespace wick::cuda

#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "backends/cuda/cudnn.hpp"

namespace wick::cuda {

/// Sizes or strides of a tensor of four axes.
using FourAxes = std::array<std::int64_t, 4>;

/// One of cuDNN's backend descriptors.
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type);
  ~CudnnDescriptor();
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&&) = delete;

  cudnnBackendDescriptor_t get() const noexcept { return handle_; }
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
           const void* values);
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value);
  }
  void finalize();

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// Address of one tensor of a graph, by the number that it was given.
struct CudnnBinding {
  std::int64_t id;
  void* data;
};

/// A graph of operations that cuDNN runs as one: its parts first, then build(), then run() as often as wanted.
/// Members throw Error kDevice for what cuDNN refuses.
class CudnnGraph {
 public:
  using Tensor = cudnnBackendDescriptor_t;

  /// A tensor in memory; `id` is the caller's, below 100.
  Tensor tensor(std::int64_t id, cudnnDataType_t type, const FourAxes& sizes,
                const FourAxes& strides);
  /// A dense result that only other operations of the graph read.
  Tensor inner(cudnnDataType_t type, const FourAxes& sizes);
  Tensor inner(cudnnDataType_t type, const FourAxes& sizes, const FourAxes& strides);
  Tensor scalar(float value);
  Tensor scalar(std::int32_t value);

  /// to = a b, summed in f32.
  void matmul(Tensor a, Tensor b, Tensor to);
  /// to = mode(x), mode(x, b) or, for a selection, (t ? x : b). `type` is what it is computed in.
  void pointwise(cudnnPointwiseMode_t mode, Tensor to, Tensor x, Tensor b = nullptr,
                 Tensor t = nullptr, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  /// Number of each element along an axis of x.
  void index(int axis, Tensor to, Tensor x);
  /// Over the axes that are 1 in `to` and not in x.
  void reduce(cudnnReduceTensorOp_t op, Tensor to, Tensor x);
  /// The elements of x by other sizes and strides.
  void reshape(Tensor to, Tensor x);

  /// Chooses how to run it.
  void build(cudnnHandle_t handle);
  std::int64_t workspace_bytes() const noexcept { return workspace_bytes_; }
  /// Enqueues it on the handle's stream. `bindings` are those of tensor().
  void run(cudnnHandle_t handle, std::vector<CudnnBinding> bindings, void* workspace) const;

 private:
  union Scalar {
    float f32;
    std::int32_t i32;
  };

  Tensor add_tensor(std::int64_t id, cudnnDataType_t type, const FourAxes& sizes,
                    const FourAxes& strides, bool is_virtual, bool by_value);
  Tensor add_scalar(cudnnDataType_t type, Scalar value);
  CudnnDescriptor& add(cudnnBackendDescriptorType_t type) { return kept_.emplace_back(type); }
  void add_operation(CudnnDescriptor& operation);
  std::vector<CudnnDescriptor> candidates(cudnnBackendDescriptor_t graph,
                                          cudnnBackendHeurMode_t mode) const;
  bool try_candidates(cudnnHandle_t handle, std::vector<CudnnDescriptor> configs);

  std::deque<CudnnDescriptor> kept_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  std::deque<std::pair<std::int64_t, Scalar>> scalars_;
  std::int64_t next_id_ = 100;
  std::vector<CudnnDescriptor> plan_;
  std::int64_t workspace_bytes_ = 0;
};

/// Strides of a dense tensor.
FourAxes dense_strides(const FourAxes& sizes);

}  // namespace wick::cuda

#pragma once

#include <functional>
#include <limits>
#include <string>

#include "softmetal/mps/matrix.hpp"
#include "softmetal/objc/class_builder.hpp"
#include "softmetal/objc/foundation.hpp"

// What the kernels of Metal Performance Shaders have in common.

namespace softmetal::mps {

inline constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

class KernelState : public State {
 public:
  explicit KernelState(DeviceState& of);
  Hold<DeviceState> device;
  std::string label;
  std::uint64_t options = 0;

  /// Appends the work of a kernel. A fault while an encoder is open or after commit.
  void encode(CommandBufferState& buffer, const char* what, std::function<void()> run) const;
};

/// A kernel that works on the matrices of a batch.
class BatchKernelState : public KernelState {
 public:
  using KernelState::KernelState;
  MTLOrigin result_origin{};
  std::uint64_t batch_start = 0;
  std::uint64_t batch_size = kAll;

  /// The batch that the properties choose of a result.
  Batch batch(const DataState& result) const;
};

class UnaryKernelState : public BatchKernelState {
 public:
  using BatchKernelState::BatchKernelState;
  MTLOrigin source_origin{};
};

class BinaryKernelState : public BatchKernelState {
 public:
  using BatchKernelState::BatchKernelState;
  MTLOrigin primary_origin{};
  MTLOrigin secondary_origin{};
};

/// MPSCNNNeuronType and its parameters.
struct Neuron {
  std::int32_t type = 0;
  float a = 0, b = 0, c = 0;
  double operator()(double x) const;
};
/// A fault for a type that is no neuron.
void check_neuron(std::int32_t type);

/// The rows, or columns, that a kernel works on: as many as asked for, at most what is there from the origin on.
std::uint64_t extent(std::uint64_t wanted, std::uint64_t available, std::uint64_t origin);

// Methods of a property.
template <class S, auto Member>
auto get_property(S& self) {
  return self.*Member;
}
template <class S, auto Member>
void set_property(S& self, std::remove_cvref_t<decltype(std::declval<S&>().*Member)> value) {
  self.*Member = value;
}

/// setNeuronType:parameterA:parameterB:parameterC:
template <class S>
void set_neuron(S& self, std::int32_t type, float a, float b, float c) {
  check_neuron(type);
  self.neuron = {type, a, b, c};
}

void register_kernels();
void register_products();
void register_rows();
void register_layers();
void register_copies();
void register_random();
void register_solvers();
void register_arrays();
void register_command_buffer();

}  // namespace softmetal::mps

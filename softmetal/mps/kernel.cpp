#include "softmetal/mps/kernel.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "softmetal/metal/statistics.hpp"

namespace softmetal::mps {

KernelState::KernelState(DeviceState& of) : device(&of) { ++statistics().mps_kernels; }

void KernelState::encode(CommandBufferState& buffer, const char* what,
                         std::function<void()> run) const {
  buffer.check_encodable();
  ++statistics().mps_encodes;
  if (mps_is_idle()) run = [] {};
  buffer.append({.what = what, .run = std::move(run)});
}

Batch BatchKernelState::batch(const DataState& result) const {
  const std::uint64_t matrices = result.layout.matrices;
  if (batch_start >= matrices) {
    fault("batchStart " + std::to_string(batch_start) + " is beyond " + std::to_string(matrices) +
          " matrices");
  }
  return {batch_start, std::min(batch_size, matrices - batch_start)};
}

std::uint64_t extent(std::uint64_t wanted, std::uint64_t available, std::uint64_t origin) {
  return std::min(wanted, available - std::min(available, origin));
}

void check_neuron(std::int32_t type) {
  constexpr std::int32_t kPRelu = 10, kMost = 15;
  if (type < 0 || type > kMost || type == kPRelu) {
    fault("neuron type " + std::to_string(type) + " is not to be set by number");
  }
}

double Neuron::operator()(double x) const {
  switch (type) {
    case 1:
      return x >= 0 ? x : a * x;
    case 2:
      return a * x + b;
    case 3:
      return 1 / (1 + std::exp(-x));
    case 4:
      return std::clamp(a * x + b, 0.0, 1.0);
    case 5:
      return a * std::tanh(b * x);
    case 6:
      return std::abs(x);
    case 7:
      return a * std::log1p(std::exp(b * x));
    case 8:
      return x / (1 + std::abs(x));
    case 9:
      return x >= 0 ? x : a * std::expm1(x);
    case 11:
      return std::min<double>(x >= 0 ? x : a * x, b);
    case 12:
      return std::pow(a * x + b, c);
    case 13:
      return std::pow(c, a * x + b);
    case 14:
      return std::log(a * x + b) / std::log(c);
    case 15:
      return (1 + std::erf(x * std::sqrt(0.5))) * 0.5 * x;
    default:
      return x;
  }
}

namespace {

Object* kernel_device(KernelState& self) { return self.device.object(); }
Object* kernel_label(KernelState& self) { return string_object(self.label); }
void set_label(KernelState& self, StringState* label) {
  self.label = label == nullptr ? std::string() : label->text();
}
std::uint64_t options(KernelState& self) { return self.options; }
void set_options(KernelState& self, std::uint64_t options) { self.options = options; }

}  // namespace

void register_kernels() {
  ClassBuilder<"MPSKernel">("MPSKernel", "NSObject")
      .method<"device", &kernel_device>()
      .method<"label", &kernel_label>()
      .method<"setLabel:", &set_label>()
      .method<"options", &options>()
      .method<"setOptions:", &set_options>()
      .done();
  using U = UnaryKernelState;
  ClassBuilder<"MPSMatrixUnaryKernel">("MPSMatrixUnaryKernel", "MPSKernel")
      .method<"setSourceMatrixOrigin:", &set_property<U, &U::source_origin>>()
      .method<"setResultMatrixOrigin:", &set_property<U, &U::result_origin>>()
      .method<"setBatchStart:", &set_property<U, &U::batch_start>>()
      .method<"setBatchSize:", &set_property<U, &U::batch_size>>()
      .method<"batchStart", &get_property<U, &U::batch_start>>()
      .method<"batchSize", &get_property<U, &U::batch_size>>()
      .done();
  using B = BinaryKernelState;
  ClassBuilder<"MPSMatrixBinaryKernel">("MPSMatrixBinaryKernel", "MPSKernel")
      .method<"setPrimarySourceMatrixOrigin:", &set_property<B, &B::primary_origin>>()
      .method<"setSecondarySourceMatrixOrigin:", &set_property<B, &B::secondary_origin>>()
      .method<"setResultMatrixOrigin:", &set_property<B, &B::result_origin>>()
      .method<"setBatchStart:", &set_property<B, &B::batch_start>>()
      .method<"setBatchSize:", &set_property<B, &B::batch_size>>()
      .method<"batchStart", &get_property<B, &B::batch_start>>()
      .method<"batchSize", &get_property<B, &B::batch_size>>()
      .done();
}

}  // namespace softmetal::mps

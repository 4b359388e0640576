#pragma once

#include <string>
#include <vector>

#include "harness/op_spec.hpp"

namespace wick::testing {

/// Devices that compute: all but the null device.
std::vector<Device> computing_devices();

/// Ways to run an op on a device: "" (the best), "matmul=plain", "isa=avx2", "isa=avx2,matmul=plain", …
std::vector<std::string> settings_for(Device device, std::string_view op);

/// Forces what a string of settings_for() says while it lives.
class ForcedSetting {
 public:
  explicit ForcedSetting(const std::string& setting);
  ~ForcedSetting();
  ForcedSetting(const ForcedSetting&) = delete;
  ForcedSetting& operator=(const ForcedSetting&) = delete;

 private:
  std::vector<std::string> kernels_;
};

/// True when the case is for this dtype.
bool takes(const OpCase& op_case, DType dtype);

/// What is wrong with the results of a case against its reference; empty when nothing is.
std::vector<std::string> check_forward(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device);

/// What is wrong with the gradients of a case against central differences of its reference, under a random
/// cotangent, computed once and accumulated twice.
std::vector<std::string> check_gradient(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                        Device device);

/// Whether results are the same to the bit with one thread and with several.
std::vector<std::string> check_threads(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device);

/// Whether the null device takes the case, forward and backward, and gives results of the same shapes.
std::vector<std::string> check_null_device(const OpSpec& spec, const OpCase& op_case, DType dtype);

}  // namespace wick::testing

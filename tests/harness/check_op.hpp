#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/op_spec.hpp"

namespace wick::testing {

/// Devices that compute: all but the null device.
std::vector<Device> computing_devices();

/// Ways to run an op on a device: "" (the best), "matmul=plain", "isa=avx2", "isa=avx2,matmul=plain", …
std::vector<std::string> settings_for(Device device, std::string_view op);

/// The same for gradients: those of the kernel of its gradient as well.
std::vector<std::string> gradient_settings_for(Device device, std::string_view op);

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

/// What the reference says of a case in one dtype: the same on each device and under each setting, and often slower than
/// what it checks.
struct ReferenceResults {
  std::optional<std::vector<Array>> outputs;
  std::vector<Array> magnitudes;
  /// Central differences by input and element; element -1 is a random direction.
  std::map<std::pair<std::size_t, std::int64_t>, double> derivatives;
};

/// What is wrong with the results of a case against its reference; empty when nothing is. Takes from `known` what is
/// there and adds the rest.
std::vector<std::string> check_forward(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device, ReferenceResults& known);

/// What is wrong with the gradients of a case against central differences of its reference, under a random
/// cotangent, computed once and accumulated twice. Takes from `known` what is there and adds the rest.
std::vector<std::string> check_gradient(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                        Device device, ReferenceResults& known);

/// Whether results are the same to the bit with one thread and with several.
std::vector<std::string> check_threads(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device);

/// Whether the null device takes the case, forward and backward, and gives results of the same shapes.
std::vector<std::string> check_null_device(const OpSpec& spec, const OpCase& op_case, DType dtype);

}  // namespace wick::testing

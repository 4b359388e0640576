#include "harness/check_op.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "harness/check_context.hpp"
#include "harness/inputs.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::testing {

std::vector<Device> computing_devices() {
  std::vector<Device> found = devices();
  std::erase(found, kNullDevice);
  return found;
}

namespace {

// Ops whose kernels are made of products, by what the settings of "matmul" say.
constexpr std::array<std::string_view, 6> kProductOps{
    "dora_gain", "linear_cross_entropy", "lora_linear", "lora_linears", "matmul", "swiglu_mlp"};

// The kernels whose variants decide on how `op` is computed. An in-place op runs the kernel of its name without
// the underscore.
std::vector<std::string_view> kernels_of(std::string_view op) {
  const std::string_view kernel = op.ends_with('_') ? op.substr(0, op.size() - 1) : op;
  if (kernel == "lora_linears" || kernel == "swiglu_mlp") return {"lora_linear", "matmul"};
  if (kernel == "linear_cross_entropy") return {"cross_entropy", "matmul"};
  if (kernel == "matmul" || std::ranges::count(kProductOps, kernel) == 0) return {kernel};
  return {kernel, "matmul"};
}

// None, and each variant that the device now has.
std::vector<std::string> variants_for(Device device, std::string_view op) {
  std::vector<std::string> variants{""};
  for (const std::string_view kernel : kernels_of(op)) {
    for (const std::string& variant : kernel_variants(device, kernel)) {
      variants.push_back(fmt::format("{}={}", kernel, variant));
    }
  }
  return variants;
}

}  // namespace

std::vector<std::string> settings_for(Device device, std::string_view op) {
  std::vector<std::string> settings = variants_for(device, op);
  const std::vector<std::string> isas = kernel_variants(device, "isa");
  // The best one is what those above have run on. Others may lack some of its variants.
  for (std::size_t i = 1; i < isas.size(); ++i) {
    const std::string isa = "isa=" + isas[i];
    const ForcedSetting limited(isa);
    for (const std::string& variant : variants_for(device, op)) {
      settings.push_back(isa + (variant.empty() ? "" : ",") + variant);
    }
  }
  return settings;
}

std::vector<std::string> gradient_settings_for(Device device, std::string_view op) {
  std::vector<std::string> settings = settings_for(device, op);
  const std::string kernel = fmt::format("{}_backward", op);
  for (const std::string& variant : kernel_variants(device, kernel)) {
    settings.push_back(fmt::format("{}={}", kernel, variant));
  }
  return settings;
}

ForcedSetting::ForcedSetting(const std::string& setting) {
  std::istringstream parts(setting);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    kernels_.push_back(part.substr(0, equals));
    force_variant(kernels_.back(), part.substr(equals + 1));
  }
}

ForcedSetting::~ForcedSetting() {
  for (const std::string& kernel : kernels_) force_variant(kernel, "");
}

bool takes(const OpCase& op_case, DType dtype) {
  return op_case.only_dtypes.empty() || std::ranges::count(op_case.only_dtypes, dtype) > 0;
}

namespace {

bool is_close(double got, double expected, double tolerance, DType dtype) {
  if (std::isnan(expected)) return std::isnan(got);
  const double limit = is_floating(dtype) ? largest(dtype) : HUGE_VAL;
  // What the reference has beyond the largest number is infinite here.
  if (std::isinf(expected) || std::abs(expected) > limit * (1 + 2 * unit_roundoff(dtype))) {
    return std::isinf(got) && (got > 0) == (expected > 0);
  }
  if (std::isinf(got)) return std::abs(expected) + tolerance >= limit;
  return std::abs(got - expected) <= tolerance;
}

void compare_output(Context& context, std::size_t index, const Array& got, const Array& expected,
                    DType dtype, const Array* magnitude) {
  if (got.shape != expected.shape) {
    context.fail(fmt::format("output {} has shape [{}], expected [{}]", index,
                             fmt::join(got.shape, ","), fmt::join(expected.shape, ",")));
    return;
  }
  const Tolerance& t = context.op_case.tolerance;
  const double overall = largest_magnitude(expected);
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double scale = magnitude != nullptr ? (*magnitude)[i] : overall;
    const double tolerance =
        !is_floating(dtype)
            ? 0
            : 2 * unit_roundoff(dtype) * std::abs(expected[i]) +
                  unit_roundoff(DType::kF32) * growth(t.length) * t.condition * scale +
                  t.roundings * unit_roundoff(context.dtype) * scale + smallest(dtype);
    if (is_close(got[i], expected[i], tolerance, dtype)) continue;
    context.fail(fmt::format("output {} element {}: got {}, expected {}, tolerance {}", index, i,
                             got[i], expected[i], tolerance));
    return;
  }
}

}  // namespace

std::vector<std::string> check_forward(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device, ReferenceResults& known) {
  Context context{spec, op_case, dtype, device};
  const std::vector<Array> arrays = make_arrays(op_case, dtype, context.seed());
  if (!known.outputs) {
    known.outputs = op_case.reference(arrays);
    if (op_case.tolerance.magnitude) known.magnitudes = op_case.tolerance.magnitude(arrays);
  }
  const std::vector<Array>& expected = *known.outputs;
  {
    const Guarded guarded(context);
    const std::vector<Tensor> inputs = make_tensors(op_case, arrays, dtype, device);
    const std::vector<Tensor> outputs = op_case.run(inputs);
    if (outputs.size() != expected.size()) context.fail("wrong number of outputs");
    for (std::size_t i = 0; i < std::min(outputs.size(), expected.size()); ++i) {
      compare_output(context, i, to_array(outputs[i]), expected[i], outputs[i].dtype(),
                     known.magnitudes.empty() ? nullptr : &known.magnitudes[i]);
    }
  }
  return context.failures;
}

std::vector<std::string> check_threads(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                       Device device) {
  Context context{spec, op_case, dtype, device};
  const std::vector<Array> arrays = make_arrays(op_case, dtype, context.seed());
  const int before = num_threads();
  std::vector<std::vector<Array>> results;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    results.emplace_back();
    for (const Tensor& output : op_case.run(make_tensors(op_case, arrays, dtype, device))) {
      results.back().push_back(to_array(output));
    }
  }
  set_num_threads(before);
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    if (!std::ranges::equal(results[0][i].data, results[1][i].data, same)) {
      context.fail(fmt::format("output {} differs between 1 and 3 threads", i));
    }
  }
  return context.failures;
}

std::vector<std::string> check_null_device(const OpSpec& spec, const OpCase& op_case, DType dtype) {
  Context context{spec, op_case, dtype, kNullDevice};
  const std::vector<Array> arrays = make_arrays(op_case, dtype, context.seed());
  const std::vector<Array> expected = op_case.reference(arrays);
  std::vector<Tensor> inputs = make_tensors(op_case, arrays, dtype, kNullDevice);
  const bool differentiate = op_case.gradient && gradient_kind(spec.op) == "differentiable";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = inputs[i].detach();
    if (differentiate && op_case.inputs[i].differentiable && is_floating(inputs[i].dtype())) {
      inputs[i].set_requires_grad(true);
    }
  }
  const std::vector<Tensor> outputs = op_case.run(inputs);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].shape().to_vector() != expected[i].shape) {
      context.fail(fmt::format("output {} has shape {}", i, to_string(outputs[i].shape())));
    }
    if (!outputs[i].requires_grad()) continue;
    backward(outputs[i], Tensor::zeros(outputs[i].shape(), outputs[i].dtype(), kNullDevice),
             {.retain_graph = true});
  }
  for (const Tensor& input : inputs) {
    if (!input.requires_grad()) continue;
    const Tensor grad = input.grad();
    if (grad.defined() && grad.shape() != input.shape())
      context.fail("a gradient has a wrong shape");
  }
  return context.failures;
}

}  // namespace wick::testing

#include "harness/check_op.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "harness/inputs.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::testing {

std::vector<Device> computing_devices() {
  std::vector<Device> found = devices();
  std::erase(found, kNullDevice);
  return found;
}

std::vector<std::string> settings_for(Device device, std::string_view op) {
  std::vector<std::string> settings{""};
  // An in-place op runs the kernel of its name without the underscore.
  const std::string_view kernel = op.ends_with('_') ? op.substr(0, op.size() - 1) : op;
  for (const std::string_view name : {kernel, std::string_view("isa")}) {
    for (const std::string& variant : kernel_variants(device, name)) {
      settings.push_back(fmt::format("{}={}", name, variant));
    }
  }
  return settings;
}

ForcedSetting::ForcedSetting(const std::string& setting)
    : kernel_(setting.substr(0, setting.find('='))) {
  if (!kernel_.empty()) force_variant(kernel_, setting.substr(kernel_.size() + 1));
}

ForcedSetting::~ForcedSetting() {
  if (!kernel_.empty()) force_variant(kernel_, "");
}

bool takes(const OpCase& op_case, DType dtype) {
  return op_case.only_dtypes.empty() || std::ranges::count(op_case.only_dtypes, dtype) > 0;
}

namespace {

struct Context {
  const OpSpec& spec;
  const OpCase& op_case;
  DType dtype;
  Device device;
  std::vector<std::string> failures = {};

  std::uint64_t seed() const { return seed_of(spec.op, op_case.name); }

  void fail(std::string what) {
    failures.push_back(fmt::format("{} / {} {} on {}: {} (seed {}; replay: --gtest_filter='*{}*')",
                                   spec.op, op_case.name, to_string(dtype), to_string(device), what,
                                   seed(), spec.op));
  }
};

// While it lives, allocations are poisoned and fenced; a write outside one is a failure at the end.
class Guarded {
 public:
  explicit Guarded(Context& context)
      : context_(context), before_(memory_stats(context.device).guard_violations) {
    set_allocation_guard(context.device, true);
  }
  ~Guarded() {
    set_allocation_guard(context_.device, false);
    const std::int64_t seen = memory_stats(context_.device).guard_violations - before_;
    if (seen > 0) context_.fail(fmt::format("{} blocks were written outside of", seen));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

 private:
  Context& context_;
  std::int64_t before_;
};

double growth(double length) { return 8 + 2 * std::sqrt(length); }

double smallest(DType dtype) {
  if (dtype == DType::kF16) return 0x1p-24;
  return dtype == DType::kF32 || dtype == DType::kBF16 ? 0x1p-126 : 0;
}

double largest_magnitude(const Array& array) {
  double most = 0;
  for (const double value : array.data) {
    if (std::isfinite(value)) most = std::max(most, std::abs(value));
  }
  return most;
}

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
                                       Device device) {
  Context context{spec, op_case, dtype, device};
  const std::vector<Array> arrays = make_arrays(op_case, dtype, context.seed());
  const std::vector<Array> expected = op_case.reference(arrays);
  std::vector<Array> magnitudes;
  if (op_case.tolerance.magnitude) magnitudes = op_case.tolerance.magnitude(arrays);
  {
    const Guarded guarded(context);
    const std::vector<Tensor> inputs = make_tensors(op_case, arrays, dtype, device);
    const std::vector<Tensor> outputs = op_case.run(inputs);
    if (outputs.size() != expected.size()) context.fail("wrong number of outputs");
    for (std::size_t i = 0; i < std::min(outputs.size(), expected.size()); ++i) {
      compare_output(context, i, to_array(outputs[i]), expected[i], outputs[i].dtype(),
                     magnitudes.empty() ? nullptr : &magnitudes[i]);
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

namespace {

// L(inputs) = Σ over outputs of <cotangent, output>, in double.
double weighted_sum(const std::vector<Array>& outputs, const std::vector<Array>& cotangents) {
  double total = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    for (std::int64_t i = 0; i < cotangents[k].numel(); ++i) {
      // A cotangent of 0 takes no part, whatever the output (an infinity, say).
      if (cotangents[k][i] != 0) total += cotangents[k][i] * outputs[k][i];
    }
  }
  return total;
}

class GradientCheck {
 public:
  GradientCheck(Context& context)
      : context_(context),
        arrays_(make_arrays(context.op_case, context.dtype, context.seed())),
        rng_(context.seed() + 1) {}

  void run() {
    std::vector<Array> once;
    {
      const Guarded guarded(context_);
      inputs_ = make_tensors(context_.op_case, arrays_, context_.dtype, context_.device);
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        if (wanted(i)) inputs_[i].set_requires_grad(true);
      }
      differentiate();
      once = gradients();
      differentiate();
      const std::vector<Array> twice = gradients();
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        if (wanted(i)) check_twice(i, once[i], twice[i]);
      }
      inputs_.clear();
    }
    for (std::size_t i = 0; i < once.size(); ++i) {
      if (wanted(i)) check_input(i, once[i]);
    }
  }

 private:
  bool wanted(std::size_t i) const {
    const Input& input = context_.op_case.inputs[i];
    return input.differentiable && is_floating(input.dtype(context_.dtype));
  }

  void differentiate() {
    const std::vector<Tensor> outputs = context_.op_case.run(inputs_);
    if (cotangents_.empty()) {
      for (const Tensor& output : outputs) cotangents_.push_back(draw_cotangent(output));
    }
    bool any = false;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!outputs[k].requires_grad()) continue;
      any = true;
      const Tensor cotangent =
          make_tensor(cotangents_[k], outputs[k].dtype(), Lay::kDense, context_.device);
      backward(outputs[k], cotangent, {.retain_graph = true});
    }
    if (!any) context_.fail("no output requires a gradient");
  }

  Array draw_cotangent(const Tensor& output) {
    Array cotangent(output.shape().to_vector());
    if (!output.requires_grad()) return cotangent;
    for (double& value : cotangent.data) {
      value = round_to(output.dtype(), std::normal_distribution<double>()(rng_));
    }
    return cotangent;
  }

  std::vector<Array> gradients() {
    std::vector<Array> found;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      found.emplace_back();
      if (!wanted(i)) continue;
      const Tensor grad = inputs_[i].grad();
      if (grad.defined()) {
        found.back() = to_array(grad);
      } else {
        context_.fail(fmt::format("{} received no gradient", context_.op_case.inputs[i].name));
      }
    }
    return found;
  }

  void check_twice(std::size_t input, const Array& once, const Array& twice) {
    const double u = unit_roundoff(context_.op_case.inputs[input].dtype(context_.dtype));
    // Relative to the largest: what an operand receives twice in one pass may cancel.
    const double tolerance = 4 * u * largest_magnitude(once);
    for (std::int64_t i = 0; i < std::min(once.numel(), twice.numel()); ++i) {
      if (std::abs(twice[i] - 2 * once[i]) <= tolerance) continue;
      context_.fail(fmt::format("gradient of {} element {}: {} once, {} accumulated twice",
                                context_.op_case.inputs[input].name, i, once[i], twice[i]));
      return;
    }
  }

  // d L / d (direction) at the inputs, by a central difference of the reference.
  double derivative(std::size_t input, const std::function<void(Array&, double)>& move) {
    constexpr double kStep = 1e-5;
    std::vector<Array> moved = arrays_;
    move(moved[input], kStep);
    const double above = weighted_sum(context_.op_case.reference(moved), cotangents_);
    moved[input] = arrays_[input];
    move(moved[input], -kStep);
    const double below = weighted_sum(context_.op_case.reference(moved), cotangents_);
    return (above - below) / (2 * kStep);
  }

  double tolerance(std::size_t input, double scale) const {
    const OpCase& c = context_.op_case;
    const double length = c.gradient_length > 0 ? c.gradient_length : c.tolerance.length;
    const double condition =
        c.gradient_condition > 0 ? c.gradient_condition : c.tolerance.condition;
    const double u_grad = unit_roundoff(c.inputs[input].dtype(context_.dtype));
    const double u_case = unit_roundoff(context_.dtype);
    // Low precision: the gradient itself, the results it is made from, and what the case adds.
    const double low =
        2 * u_grad + (context_.dtype == DType::kF32 ? 0 : (2 + c.tolerance.roundings) * u_case);
    constexpr double kDifferenceError = 1e-8;
    return scale *
               (low + unit_roundoff(DType::kF32) * growth(length) * condition + kDifferenceError) +
           smallest(context_.dtype) + 1e-9;
  }

  void check_input(std::size_t input, const Array& got) {
    if (got.shape != arrays_[input].shape) {
      context_.fail(
          fmt::format("gradient of {} has a wrong shape", context_.op_case.inputs[input].name));
      return;
    }
    std::vector<std::int64_t> chosen = sample(got.numel());
    std::vector<double> expected;
    double scale = 0;
    for (const std::int64_t i : chosen) {
      expected.push_back(derivative(input, [i](Array& x, double step) { x[i] += step; }));
      scale = std::max(scale, std::abs(expected.back()));
    }
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const double tol = tolerance(input, scale);
      if (std::abs(got[chosen[k]] - expected[k]) <= tol) continue;
      context_.fail(fmt::format("gradient of {} element {}: got {}, expected {}, tolerance {}",
                                context_.op_case.inputs[input].name, chosen[k], got[chosen[k]],
                                expected[k], tol));
      return;
    }
    if (static_cast<std::int64_t>(chosen.size()) < got.numel()) check_direction(input, got);
  }

  // All elements at once along a random direction.
  void check_direction(std::size_t input, const Array& got) {
    Array direction(got.shape);
    for (double& value : direction.data) value = std::normal_distribution<double>()(rng_);
    const double expected = derivative(input, [&](Array& x, double step) {
      for (std::int64_t i = 0; i < x.numel(); ++i) x[i] += step * direction[i];
    });
    double found = 0;
    double scale = 0;
    for (std::int64_t i = 0; i < got.numel(); ++i) {
      found += got[i] * direction[i];
      scale += got[i] * got[i] * direction[i] * direction[i];
    }
    // Rounding errors of the elements are independent; a wrong factor is not.
    const double tol =
        8 * tolerance(input, std::sqrt(scale) + std::abs(expected)) + 1e-6 * std::sqrt(scale);
    if (std::abs(found - expected) <= tol) return;
    context_.fail(fmt::format("gradient of {} along a direction: got {}, expected {}, tolerance {}",
                              context_.op_case.inputs[input].name, found, expected, tol));
  }

  std::vector<std::int64_t> sample(std::int64_t count) {
    constexpr std::int64_t kMost = 24;
    std::vector<std::int64_t> chosen;
    for (std::int64_t k = 0; k < std::min(count, kMost); ++k) {
      chosen.push_back(count <= kMost
                           ? k
                           : static_cast<std::int64_t>(rng_() % static_cast<std::uint64_t>(count)));
    }
    return chosen;
  }

  Context& context_;
  std::vector<Array> arrays_;
  std::vector<Array> cotangents_;
  std::vector<Tensor> inputs_;
  Rng rng_;
};

}  // namespace

std::vector<std::string> check_gradient(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                        Device device) {
  Context context{spec, op_case, dtype, device};
  GradientCheck(context).run();
  return context.failures;
}

}  // namespace wick::testing

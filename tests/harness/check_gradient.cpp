#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "harness/check_context.hpp"
#include "harness/check_op.hpp"
#include "harness/inputs.hpp"
#include "wick/autograd/autograd.hpp"

namespace wick::testing {

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
  GradientCheck(Context& context, ReferenceResults& known)
      : context_(context),
        known_(known),
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

  // d L / d (direction) at the inputs, by a central difference of the reference. `element` is -1 for all at once.
  double derivative(std::size_t input, std::int64_t element,
                    const std::function<void(Array&, double)>& move) {
    const auto found = known_.derivatives.find({input, element});
    if (found != known_.derivatives.end()) return found->second;
    constexpr double kStep = 1e-5;
    std::vector<Array> moved = arrays_;
    move(moved[input], kStep);
    const double above = weighted_sum(context_.op_case.reference(moved), cotangents_);
    moved[input] = arrays_[input];
    move(moved[input], -kStep);
    const double below = weighted_sum(context_.op_case.reference(moved), cotangents_);
    return known_.derivatives[{input, element}] = (above - below) / (2 * kStep);
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
    // Drawn before anything can fail, so that each setting asks the reference for the same.
    const std::vector<std::int64_t> chosen = sample(arrays_[input].numel());
    const bool all_chosen = static_cast<std::int64_t>(chosen.size()) == arrays_[input].numel();
    const Array direction = all_chosen ? Array() : draw_direction(arrays_[input].shape);
    if (got.shape != arrays_[input].shape) {
      context_.fail(
          fmt::format("gradient of {} has a wrong shape", context_.op_case.inputs[input].name));
      return;
    }
    std::vector<double> expected;
    double scale = 0;
    for (const std::int64_t i : chosen) {
      expected.push_back(derivative(input, i, [i](Array& x, double step) { x[i] += step; }));
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
    if (!all_chosen) check_direction(input, got, direction);
  }

  Array draw_direction(const std::vector<std::int64_t>& shape) {
    Array direction(shape);
    for (double& value : direction.data) value = std::normal_distribution<double>()(rng_);
    return direction;
  }

  // All elements at once along a random direction.
  void check_direction(std::size_t input, const Array& got, const Array& direction) {
    const double expected = derivative(input, -1, [&](Array& x, double step) {
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
  ReferenceResults& known_;
  std::vector<Array> arrays_;
  std::vector<Array> cotangents_;
  std::vector<Tensor> inputs_;
  Rng rng_;
};

}  // namespace

std::vector<std::string> check_gradient(const OpSpec& spec, const OpCase& op_case, DType dtype,
                                        Device device, ReferenceResults& known) {
  Context context{spec, op_case, dtype, device};
  GradientCheck(context, known).run();
  return context.failures;
}

}  // namespace wick::testing

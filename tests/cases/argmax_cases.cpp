#include "cases/reduction_cases.hpp"
#include "reference/argmax_ref.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::testing {

namespace {

using reductions::Along;

OpCase make_case(const std::string& name, const Along& along, bool keepdim) {
  OpCase result;
  result.name = name;
  result.inputs = {along.input()};
  result.inputs[0].differentiable = false;
  result.run = [axis = along.axis, keepdim](std::span<const Tensor> in) {
    return std::vector{argmax(in[0], axis, keepdim)};
  };
  result.reference = [axis = along.axis, keepdim](std::span<const Array> in) {
    return std::vector{reference::argmax_ref(in[0], axis, keepdim)};
  };
  result.tolerance.condition = 0;
  result.gradient = false;
  return result;
}

OpCase argmax_case(const std::string& name, const Along& along) {
  return make_case(name, along, false);
}

// The result's dtype, and that an input with a gradient is taken while nothing is recorded.
OpCase result_case() {
  OpCase result = argmax_case("dtype_and_tape", {{4, 9}});
  result.only_dtypes = kFloating;
  result.run = [](std::span<const Tensor> in) {
    const Tensor x = in[0].detach().set_requires_grad(true);
    const NoGradGuard no_grad;
    const Tensor out = argmax(x, -1);
    return std::vector{out, flag(out.dtype() == DType::kI64), flag(out.requires_grad())};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::argmax_ref(in[0], -1, false), flag_ref(), flag_ref(false)};
  };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = reductions::selection_cases(argmax_case);
  list.push_back(make_case("keepdim", {{4, 9}}, true));
  list.push_back(make_case("keepdim_middle", {{3, 7, 5}, 1}, true));
  list.push_back(make_case("keepdim_vector", {{23}, 0}, true));
  list.push_back(make_case("keepdim_transposed", {{6, 11}, 0, Lay::kTransposed}, true));
  list.push_back(make_case("few_long_rows", {{2, 20011}, 1}, false));
  list.push_back(result_case());
  reductions::add_timed_selections(argmax_case, list);
  return list;
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list =
      reductions::selection_errors([](const Tensor& x, int axis) { argmax(x, axis); });
  list.push_back({"empty_axis", ErrorKind::kShape, {"x [3,0] f32@cpu"}, [] {
                    argmax(Tensor::zeros({3, 0}, DType::kF32), 1);
                  }});
  list.push_back({"empty_axis_of_nothing", ErrorKind::kShape, {"x [0,0] f32@cpu"}, [] {
                    argmax(Tensor::zeros({0, 0}, DType::kF32), 0, true);
                  }});
  list.push_back({"requires_gradient", ErrorKind::kUnsupported, {"argmax", " [2,3] bf16@cpu"}, [] {
                    argmax(tracked({2, 3}, DType::kBF16), 0);
                  }});
  return list;
}

}  // namespace

OpSpec spec_argmax() {
  return {.op = "argmax", .dtypes = kFloatingAndIntegers, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

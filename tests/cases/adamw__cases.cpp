#include "reference/adamw__ref.hpp"

#include <cmath>
#include <limits>

#include "cases/layout_cases.hpp"
#include "wick/ops/optimizer.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

struct Options {
  AdamwOptions call = {};
  std::int64_t step = 10;
  int steps = 1;  ///< so many calls, all with the same gradients
  Values parameter = normal();
  Values grad = normal(0.1);
  Values m = normal(0.1);
  Values v = uniform(0.001, 0.02);
  Lay lay_parameter = Lay::kDense;
  Lay lay_grad = Lay::kDense;
  Lay lay_state = Lay::kDense;
  std::vector<std::vector<DType>> dtypes = {};  ///< of each parameter; missing: that under test
  bool requires_grad = false;                   ///< as parameters do when they are trained
  bool has_lr_tensor = false;                   ///< holds lr; the call's own is another
  bool has_step_tensor = false;
};

std::vector<Input> inputs_of(const std::vector<Shape>& shapes, const Options& o) {
  std::vector<Input> inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::vector<DType> dtype = i < o.dtypes.size() ? o.dtypes[i] : std::vector<DType>();
    const auto add = [&](const std::string& name, const Values& values, Lay lay,
                         const std::vector<DType>& fixed) {
      inputs.push_back({.name = fmt::format("{}{}", name, i),
                        .shape = shapes[i],
                        .values = values,
                        .lay = lay,
                        .fixed_dtype = fixed});
    };
    add("parameter", o.parameter, o.lay_parameter, dtype);
    add("grad", o.grad, o.lay_grad, dtype);
    add("m", o.m, o.lay_state, {DType::kF32});
    add("v", o.v, o.lay_state, {DType::kF32});
  }
  if (o.has_lr_tensor) {
    inputs.push_back(
        {.name = "lr", .shape = {}, .values = constant(o.call.lr), .fixed_dtype = {DType::kF32}});
  }
  if (o.has_step_tensor) {
    inputs.push_back({.name = "step",
                      .shape = {},
                      .values = constant(static_cast<double>(o.step)),
                      .fixed_dtype = {DType::kI64}});
  }
  return inputs;
}

std::vector<Tensor> run(std::span<const Tensor> in, std::size_t count, const Options& o) {
  AdamwOptions call = o.call;
  std::int64_t step = o.step;
  // What the tensors replace must not be used.
  if (o.has_lr_tensor) {
    call.lr_tensor = in[4 * count];
    call.lr = 17;
  }
  if (o.has_step_tensor) {
    call.step_tensor = in.back();
    step = 1;
  }
  std::vector<AdamwParameter> parameters;
  std::vector<Tensor> results;
  for (std::size_t i = 0; i < 4 * count; i += 4) {
    if (o.requires_grad) in[i].set_requires_grad(true);
    in[i].set_grad(in[i + 1]);
    parameters.push_back({.parameter = in[i], .m = in[i + 2], .v = in[i + 3]});
    results.insert(results.end(), {in[i], in[i + 2], in[i + 3]});
  }
  for (int i = 0; i < o.steps; ++i) adamw_(parameters, step + i, call);
  return results;
}

// The results of every parameter; `magnitude` chooses what they are compared with or measured by.
std::vector<Array> expected(std::span<const Array> in, std::size_t count, const Options& o,
                            bool magnitude) {
  const reference::AdamwForm form = {.lr = o.has_lr_tensor ? as_f32(o.call.lr) : o.call.lr,
                                     .beta1 = o.call.beta1,
                                     .beta2 = o.call.beta2,
                                     .eps = o.call.eps,
                                     .weight_decay = o.call.weight_decay};
  std::vector<Array> results;
  for (std::size_t i = 0; i < 4 * count; i += 4) {
    reference::AdamwState state = {in[i], in[i + 2], in[i + 3]};
    for (int k = 0; k < o.steps; ++k) {
      const auto t = static_cast<double>(o.step + k);
      state = magnitude ? reference::adamw_magnitude(state, in[i + 1], t, form)
                        : reference::adamw_ref(state, in[i + 1], t, form);
    }
    results.insert(results.end(), {state.parameter, state.m, state.v});
  }
  return results;
}

OpCase adamw_case(const std::string& name, const std::vector<Shape>& shapes,
                  const Options& options = {}) {
  const std::size_t count = shapes.size();
  OpCase result;
  result.name = name;
  result.inputs = inputs_of(shapes, options);
  result.run = [=](std::span<const Tensor> in) { return run(in, count, options); };
  result.reference = [=](std::span<const Array> in) { return expected(in, count, options, false); };
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return expected(in, count, options, true);
  };
  result.tolerance.condition = options.steps;
  // The steps before the last one round the parameter, too.
  result.tolerance.roundings = options.steps - 1;
  result.gradient = false;
  return result;
}

// A first step: moments of zero, and an update of nearly ±lr whatever the gradient's size.
Options first_step() { return {.step = 1, .m = constant(0), .v = constant(0)}; }

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> list;
  for (const std::int64_t n :
       {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 4099}) {
    list.push_back(adamw_case(fmt::format("{}", n), {{n}}));
  }
  list.push_back(adamw_case("scalar", {{}}));
  list.push_back(adamw_case("empty", {{3, 0}}));
  list.push_back(adamw_case("three_dimensions", {{3, 5, 7}}));
  list.push_back(adamw_case("two_parameters", {{8, 33}, {33}}));
  list.push_back(adamw_case("many_parameters", {{1}, {17, 3}, {0}, {}, {64}, {5, 13}, {129}}));
  list.push_back(adamw_case(
      "offset", {{65}},
      {.lay_parameter = Lay::kOffset, .lay_grad = Lay::kOffset, .lay_state = Lay::kOffset}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(adamw_case("grad_" + name, {{5, 19}}, {.lay_grad = lay}));
  }
  list.push_back(adamw_case("mixed_dtypes", {{17}, {65}, {5, 9}, {33}},
                            {.dtypes = {{DType::kBF16}, {DType::kF32}, {DType::kF16}, {}}}));
  list.push_back(adamw_case("parameter_requires_grad", {{33}}, {.requires_grad = true}));
  return list;
}

std::vector<OpCase> option_cases() {
  std::vector<OpCase> list;
  list.push_back(adamw_case("first_step", {{65}}, first_step()));
  Options small = first_step();
  small.grad = normal(1e-6);
  list.push_back(adamw_case("first_step_small_grad", {{65}}, small));
  Options none = first_step();
  none.grad = constant(0);
  list.push_back(adamw_case("zero_grad", {{65}}, none));
  list.push_back(adamw_case("step_2", {{65}}, {.step = 2}));
  list.push_back(adamw_case("step_1000", {{65}}, {.step = 1000}));
  list.push_back(adamw_case("step_1e9", {{65}}, {.step = 1000000000}));
  list.push_back(adamw_case("lr_0", {{65}}, {.call = {.lr = 0}}));
  list.push_back(adamw_case("lr_large", {{65}}, {.call = {.lr = 0.5}}));
  list.push_back(adamw_case("no_decay", {{65}}, {.call = {.weight_decay = 0}}));
  list.push_back(adamw_case("strong_decay", {{65}}, {.call = {.lr = 0.1, .weight_decay = 3}}));
  list.push_back(adamw_case("only_decay", {{65}},
                            {.call = {.lr = 0.1, .weight_decay = 0.5},
                             .grad = constant(0),
                             .m = constant(0),
                             .v = constant(0)}));
  list.push_back(adamw_case("beta1_0", {{65}}, {.call = {.beta1 = 0}}));
  list.push_back(adamw_case("beta2_0", {{65}}, {.call = {.beta2 = 0}}));
  list.push_back(
      adamw_case("betas_0_first", {{65}}, {.call = {.beta1 = 0, .beta2 = 0}, .step = 1}));
  list.push_back(adamw_case("betas_of_llm", {{65}}, {.call = {.beta1 = 0.9, .beta2 = 0.95}}));
  list.push_back(adamw_case("eps_0", {{65}}, {.call = {.eps = 0}}));
  list.push_back(adamw_case("eps_large", {{65}}, {.call = {.lr = 0.1, .eps = 0.3}}));
  list.push_back(adamw_case("large_grad", {{65}}, {.grad = normal(1e3)}));
  return list;
}

std::vector<OpCase> step_cases() {
  std::vector<OpCase> list;
  Options several = first_step();
  several.call.lr = 0.05;
  several.steps = 5;
  list.push_back(adamw_case("five_steps", {{33}, {4, 5}}, several));
  several.steps = 40;
  list.push_back(adamw_case("forty_steps", {{33}}, several));
  list.back().only_dtypes = {DType::kF32};
  list.push_back(
      adamw_case("lr_tensor", {{33}, {7}}, {.call = {.lr = 0.07}, .has_lr_tensor = true}));
  list.push_back(adamw_case("step_tensor", {{33}, {7}}, {.step = 25, .has_step_tensor = true}));
  list.push_back(adamw_case(
      "lr_and_step_tensor", {{33}, {7}},
      {.call = {.lr = 0.07}, .step = 3, .has_lr_tensor = true, .has_step_tensor = true}));
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (auto& part : {shape_cases(), option_cases(), step_cases()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  // The adapters of a layer, and one large tensor.
  const Shape lora_a = {8, 1024};
  const Shape lora_b = {1024, 8};
  struct Timed {
    std::string name;
    std::vector<Shape> shapes;
  };
  for (const auto& [name, shapes] :
       {Timed{"timed_adapters", {lora_a, lora_b, lora_a, lora_b, lora_a, lora_b, lora_a, lora_b}},
        Timed{"timed_1024x1024", {{1024, 1024}}}}) {
    OpCase timed = adamw_case(name, shapes);
    timed.benchmark_only = true;
    double elements = 0;
    for (const Shape& shape : shapes) elements += static_cast<double>(shape.numel());
    // Parameter, m and v read and written, the gradient read.
    timed.bytes_per_element_of_dtype = 7 * elements;
    timed.only_dtypes = {DType::kF32};
    list.push_back(std::move(timed));
  }
  return list;
}

Tensor zeros(const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
  return Tensor::zeros(shape, dtype, device);
}

// A parameter with a gradient, and its state.
AdamwParameter with_grad(const Tensor& parameter, const Tensor& m, const Tensor& v) {
  parameter.set_grad(Tensor::zeros(parameter.shape(), parameter.dtype(), parameter.device()));
  return {.parameter = parameter, .m = m, .v = v};
}

AdamwParameter whole(const Shape& shape) {
  return with_grad(zeros(shape), zeros(shape), zeros(shape));
}

void step_of(const AdamwParameter& parameter, std::int64_t step = 1,
             const AdamwOptions& options = {}) {
  const AdamwParameter parameters[] = {whole({3}), parameter};
  adamw_(parameters, step, options);
}

std::vector<ErrorCase> number_errors() {
  const auto refused = [](const std::string& name, const std::string& text, const AdamwOptions& o,
                          std::int64_t step = 1) {
    return ErrorCase{
        name, ErrorKind::kArgument, {"adamw_", text}, [=] { step_of(whole({2}), step, o); }};
  };
  const double nan = std::nan("");
  return {
      refused("step_0", "step", {}, 0),
      refused("step_negative", "step", {}, -3),
      refused("lr_negative", "lr", {.lr = -1e-3}),
      refused("lr_nan", "lr", {.lr = nan}),
      refused("eps_negative", "eps", {.eps = -1e-8}),
      refused("eps_nan", "eps", {.eps = nan}),
      refused("weight_decay_negative", "weight_decay", {.weight_decay = -0.1}),
      refused("beta1_1", "beta1", {.beta1 = 1}),
      refused("beta1_negative", "beta1", {.beta1 = -0.1}),
      refused("beta2_1", "beta2", {.beta2 = 1}),
      refused("beta2_nan", "beta2", {.beta2 = nan}),
  };
}

std::vector<ErrorCase> shape_errors() {
  return {
      {"shape_of_m",
       ErrorKind::kShape,
       {"parameter [2] f32@cpu", "m [3] f32@cpu"},
       [] { step_of(with_grad(zeros({2}), zeros({3}), zeros({2}))); }},
      {"shape_of_v",
       ErrorKind::kShape,
       {"parameter [2] f32@cpu", "v [1,2] f32@cpu"},
       [] { step_of(with_grad(zeros({2}), zeros({2}), zeros({1, 2}))); }},
      {"strided_parameter",
       ErrorKind::kShape,
       {"parameter [3,2] f32@cpu"},
       [] { step_of(with_grad(transpose(zeros({2, 3})), zeros({3, 2}), zeros({3, 2}))); }},
      {"repeated_state",
       ErrorKind::kShape,
       {"v [3,2] f32@cpu"},
       [] { step_of(with_grad(zeros({3, 2}), zeros({3, 2}), broadcast_to(zeros({2}), {3, 2}))); }},
  };
}

std::vector<ErrorCase> dtype_errors() {
  const DType i32 = DType::kI32;
  const DType bf16 = DType::kBF16;
  return {
      {"dtype_of_parameter",
       ErrorKind::kDtype,
       {"parameter [2] i32@cpu"},
       [=] { step_of(with_grad(zeros({2}, i32), zeros({2}), zeros({2}))); }},
      {"dtype_of_m",
       ErrorKind::kDtype,
       {"m [2] bf16@cpu"},
       [=] { step_of(with_grad(zeros({2}, bf16), zeros({2}, bf16), zeros({2}))); }},
      {"dtype_of_v",
       ErrorKind::kDtype,
       {"v [2] bf16@cpu"},
       [=] { step_of(with_grad(zeros({2}, bf16), zeros({2}), zeros({2}, bf16))); }},
  };
}

std::vector<ErrorCase> presence_errors() {
  const auto there = [] { return zeros({2}, DType::kF32, kNullDevice); };
  return {
      {"device_of_m",
       ErrorKind::kDevice,
       {"m [2] f32@null", "parameter [2] f32@cpu"},
       [=] { step_of(with_grad(zeros({2}), there(), zeros({2}))); }},
      {"device_of_parameter",
       ErrorKind::kDevice,
       {"parameter [2] f32@null"},
       [=] { step_of(with_grad(there(), there(), there())); }},
      {"no_gradient",
       ErrorKind::kArgument,
       {"1", "parameter [2] f32@cpu"},
       [] { step_of({.parameter = zeros({2}), .m = zeros({2}), .v = zeros({2})}); }},
      {"undefined_parameter",
       ErrorKind::kArgument,
       {"parameter"},
       [] { step_of({.parameter = Tensor(), .m = zeros({2}), .v = zeros({2})}); }},
      {"undefined_m",
       ErrorKind::kArgument,
       {"m"},
       [] { step_of(with_grad(zeros({2}), Tensor(), zeros({2}))); }},
      {"undefined_v",
       ErrorKind::kArgument,
       {"v"},
       [] { step_of(with_grad(zeros({2}), zeros({2}), Tensor())); }},
  };
}

// lr_tensor and step_tensor, which must be scalars of one dtype on the device of the parameters.
std::vector<ErrorCase> scalar_errors() {
  const auto lr = [](const Shape& shape, DType dtype, Device device) {
    return [=] { step_of(whole({2}), 1, {.lr_tensor = zeros(shape, dtype, device)}); };
  };
  const auto step = [](const Shape& shape, DType dtype, Device device) {
    return [=] { step_of(whole({2}), 1, {.step_tensor = zeros(shape, dtype, device)}); };
  };
  const DType f32 = DType::kF32;
  const DType i32 = DType::kI32;
  const DType i64 = DType::kI64;
  const ErrorKind shape = ErrorKind::kShape;
  const ErrorKind dtype = ErrorKind::kDtype;
  const ErrorKind device = ErrorKind::kDevice;
  return {
      {"lr_shape", shape, {"lr_tensor [1] f32@cpu"}, lr({1}, f32, kCpuDevice)},
      {"lr_dtype", dtype, {"lr_tensor [] i64@cpu"}, lr({}, i64, kCpuDevice)},
      {"lr_device", device, {"lr_tensor [] f32@null"}, lr({}, f32, kNullDevice)},
      {"step_shape", shape, {"step_tensor [1] i64@cpu"}, step({1}, i64, kCpuDevice)},
      {"step_dtype", dtype, {"step_tensor [] i32@cpu"}, step({}, i32, kCpuDevice)},
      {"step_device", device, {"step_tensor [] i64@null"}, step({}, i64, kNullDevice)},
  };
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list;
  for (auto& part :
       {number_errors(), shape_errors(), dtype_errors(), presence_errors(), scalar_errors()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  return list;
}

}  // namespace

OpSpec spec_adamw_() {
  return {.op = "adamw_", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

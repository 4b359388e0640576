#include "reference/lora_linear_ref.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "cases/random_cases.hpp"
#include "wick/ops/lora.hpp"

namespace wick::testing {

namespace {

struct Options {
  bool has_bias = true;
  double scale = 2;
  double dropout = 0;
  Draw draw = {};
  Values b = normal();
  Lay lay_x = Lay::kDense;
  Lay lay_weight = Lay::kDense;
  Lay lay_bias = Lay::kDense;
  Lay lay_a = Lay::kDense;
  Lay lay_b = Lay::kDense;
  std::vector<DType> dtype_x = {};
  std::vector<DType> dtype_weight = {};   ///< and of the bias
  std::vector<DType> dtype_adapter = {};  ///< of A and B
  bool gradient = true;
};

// Operands lie in the order of the call; a case without a bias has one less.
struct Operands {
  bool has_bias;
  std::size_t a() const { return has_bias ? 3 : 2; }
  std::size_t b() const { return a() + 1; }
  std::size_t base() const { return a() + 2; }
};

std::vector<Input> inputs_of(const Shape& x, std::int64_t N, std::int64_t r, const Options& o) {
  const std::int64_t K = x[x.rank() - 1];
  std::vector<Input> inputs = {{.name = "x", .shape = x, .lay = o.lay_x, .fixed_dtype = o.dtype_x},
                               {.name = "weight",
                                .shape = {N, K},
                                .lay = o.lay_weight,
                                .fixed_dtype = o.dtype_weight,
                                .differentiable = false}};
  if (o.has_bias) {
    inputs.push_back(
        {.name = "bias", .shape = {N}, .lay = o.lay_bias, .fixed_dtype = o.dtype_weight});
  }
  inputs.push_back(
      {.name = "lora_a", .shape = {r, K}, .lay = o.lay_a, .fixed_dtype = o.dtype_adapter});
  inputs.push_back({.name = "lora_b",
                    .shape = {N, r},
                    .values = o.b,
                    .lay = o.lay_b,
                    .fixed_dtype = o.dtype_adapter});
  inputs.push_back(base_input(o.draw));
  return inputs;
}

OpCase lora_case(const std::string& name, const Shape& x, std::int64_t N, std::int64_t r,
                 const Options& options = {}) {
  const Operands at{options.has_bias};
  const reference::LoraForm form = {.scale = as_f32(options.scale),
                                    .dropout = options.dropout,
                                    .stream = stream_of(options.draw)};
  OpCase result;
  result.name = name;
  result.inputs = inputs_of(x, N, r, options);
  result.run = [at, scale = options.scale, dropout = options.dropout,
                draw = options.draw](std::span<const Tensor> in) {
    const RandomKey key = key_of(draw, in[at.base()]);
    return std::vector{lora_linear(in[0], in[1], at.has_bias ? in[2] : Tensor(), in[at.a()],
                                   in[at.b()], {.scale = scale, .dropout = dropout, .key = key})};
  };
  result.reference = [at, form](std::span<const Array> in) {
    return std::vector{reference::lora_linear_ref(in[0], in[1], at.has_bias ? &in[2] : nullptr,
                                                  in[at.a()], in[at.b()], form)};
  };
  result.tolerance.magnitude = [at, form](std::span<const Array> in) {
    std::vector<Array> positive;
    for (const Array& operand : in) positive.push_back(reference::absolute(operand));
    reference::LoraForm positive_form = form;
    positive_form.scale = std::abs(form.scale);
    return std::vector{
        reference::lora_linear_ref(positive[0], positive[1], at.has_bias ? &positive[2] : nullptr,
                                   positive[at.a()], positive[at.b()], positive_form)};
  };
  const std::int64_t K = x[x.rank() - 1];
  const std::int64_t M = x.numel() / std::max<std::int64_t>(K, 1);
  result.tolerance.length = static_cast<double>(K + r + 1);
  // On tensor cores the adapter and x aᵀ are rounded to x's dtype, as is the base's part before the adapter's is added.
  result.tolerance.roundings = 2;
  result.gradient = options.gradient;
  result.gradient_length = static_cast<double>(std::max(M, N) + K + r + 1);
  return result;
}

// Around the widths of vectors and the blocks of gemm kernels.
std::vector<OpCase> sized_cases() {
  struct Size {
    std::int64_t M, N, K, r;
  };
  std::vector<OpCase> list;
  for (const auto& [M, N, K, r] :
       {Size{1, 1, 1, 1}, {1, 17, 33, 2}, {1, 65, 31, 8}, {2, 3, 5, 1},     {3, 15, 16, 4},
        {4, 16, 15, 3},   {5, 17, 17, 8}, {7, 63, 33, 2}, {8, 64, 15, 16},  {9, 65, 17, 5},
        {16, 31, 63, 8},  {17, 9, 64, 7}, {15, 8, 65, 9}, {33, 13, 31, 15}, {64, 5, 16, 17},
        {65, 3, 17, 16},  {6, 127, 9, 8}, {5, 9, 127, 8}, {5, 129, 17, 1},  {3, 17, 129, 64}}) {
    list.push_back(lora_case(fmt::format("{}x{}x{}_r{}", M, N, K, r), {M, K}, N, r));
  }
  for (const auto& [M, N, K, r] : {Size{63, 128, 127, 8},
                                   {64, 127, 128, 16},
                                   {65, 129, 129, 63},
                                   {1, 257, 1025, 8},
                                   {513, 17, 16, 8},
                                   {1031, 3, 17, 4},
                                   {129, 63, 65, 64},
                                   {2, 63, 64, 129}}) {
    list.push_back(
        lora_case(fmt::format("{}x{}x{}_r{}", M, N, K, r), {M, K}, N, r, {.gradient = false}));
  }
  // Rows of 16 bytes, for the kernels on tensor cores: at and above their tiles, of out and of dx.
  for (const auto& [M, N, K, r] : {Size{128, 64, 64, 16},
                                   {131, 40, 72, 8},
                                   {131, 40, 24, 5},
                                   {257, 16, 136, 32},
                                   {129, 72, 264, 24}}) {
    list.push_back(lora_case(fmt::format("{}x{}x{}_r{}", M, N, K, r), {M, K}, N, r));
  }
  // More steps of K than are in flight at once; more tiles than a GPU works on at once.
  for (const auto& [M, N, K, r] :
       {Size{258, 232, 520, 64}, {8456, 264, 8, 8}, {300, 264, 136, 48}, {129, 64, 1160, 1}}) {
    list.push_back(
        lora_case(fmt::format("{}x{}x{}_r{}", M, N, K, r), {M, K}, N, r, {.gradient = false}));
  }
  return list;
}

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> list;
  for (const std::int64_t r : {0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65}) {
    list.push_back(lora_case(fmt::format("r{}", r), {3, 16}, 9, r));
    list.push_back(lora_case(fmt::format("r{}_no_bias", r), {1, 17}, 8, r, {.has_bias = false}));
  }
  list.push_back(lora_case("one_dimension", {17}, 9, 3));
  list.push_back(lora_case("three_dimensions", {2, 5, 17}, 9, 3));
  list.push_back(lora_case("four_dimensions", {2, 1, 3, 16}, 9, 3));
  list.push_back(lora_case("no_rows", {0, 17}, 9, 3));
  list.push_back(lora_case("no_rows_batched", {2, 0, 17}, 9, 3));
  list.push_back(lora_case("no_outputs", {5, 17}, 0, 3));
  list.push_back(lora_case("no_inputs", {5, 0}, 9, 3));
  return list;
}

std::vector<OpCase> option_cases() {
  std::vector<OpCase> list;
  list.push_back(lora_case("no_bias", {7, 33}, 17, 4, {.has_bias = false}));
  list.push_back(lora_case("no_bias_batched", {2, 7, 33}, 17, 4, {.has_bias = false}));
  list.push_back(lora_case("scale_inexact", {7, 33}, 17, 4, {.scale = 0.3}));
  list.push_back(lora_case("scale_negative", {7, 33}, 17, 4, {.scale = -1.5}));
  list.push_back(lora_case("scale_0", {7, 33}, 17, 4, {.scale = 0}));
  // As an adapter begins.
  list.push_back(lora_case("b_0", {7, 33}, 17, 4, {.b = constant(0)}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(lora_case("x_" + name, {2, 5, 19}, 9, 4, {.lay_x = lay}));
    list.push_back(lora_case("weight_" + name, {5, 19}, 9, 4, {.lay_weight = lay}));
    list.push_back(lora_case("a_" + name, {5, 19}, 9, 4, {.lay_a = lay}));
    list.push_back(lora_case("b_" + name, {5, 19}, 9, 4, {.lay_b = lay}));
    if (lay == Lay::kTransposed) continue;  // the bias has one axis
    list.push_back(lora_case("bias_" + name, {5, 19}, 9, 4, {.lay_bias = lay}));
  }
  return list;
}

std::vector<OpCase> dropout_cases() {
  std::vector<OpCase> list;
  for (const auto& [name, draw] : named_draws()) {
    list.push_back(lora_case("dropout_" + name, {5, 19}, 9, 4, {.dropout = 0.3, .draw = draw}));
  }
  list.push_back(lora_case("dropout_half", {7, 33}, 17, 4, {.dropout = 0.5}));
  list.push_back(lora_case("dropout_tenth", {3, 5, 16}, 17, 8, {.dropout = 0.1}));
  list.push_back(lora_case("dropout_most", {7, 64}, 17, 4, {.dropout = 0.9}));
  list.push_back(lora_case("dropout_row", {1, 65}, 17, 4, {.dropout = 0.2}));
  list.push_back(lora_case("dropout_vector", {65}, 17, 4, {.dropout = 0.2}));
  list.push_back(lora_case("dropout_no_bias", {33, 15}, 7, 2, {.has_bias = false, .dropout = 0.2}));
  list.push_back(lora_case("dropout_r0", {7, 33}, 17, 0, {.dropout = 0.5}));
  list.push_back(lora_case("dropout_x_transposed", {2, 5, 19}, 9, 4,
                           {.dropout = 0.3, .lay_x = Lay::kTransposed}));
  list.push_back(
      lora_case("dropout_many_rows", {513, 17}, 5, 4, {.dropout = 0.3, .gradient = false}));
  list.push_back(lora_case("dropout_wide", {5, 1025}, 9, 8, {.dropout = 0.3, .gradient = false}));
  return list;
}

std::vector<OpCase> dtype_cases() {
  const std::vector<DType> f32 = {DType::kF32};
  std::vector<OpCase> list;
  struct Mix {
    std::string name;
    std::vector<DType> x, weight, adapter;
  };
  const std::vector<Mix> mixes = {
      {"f32_adapter", {}, {}, f32},
      {"f32_x_adapter", f32, {}, f32},
      {"f32_x_adapter_f16_weight", f32, {DType::kF16}, f32},
      {"f32_x_adapter_bf16_weight", f32, {DType::kBF16}, f32},
  };
  for (const auto& [name, x, weight, adapter] : mixes) {
    const Options mixed = {.dtype_x = x, .dtype_weight = weight, .dtype_adapter = adapter};
    list.push_back(lora_case(name, {7, 33}, 17, 4, mixed));
    list.push_back(lora_case(name + "_row", {1, 65}, 33, 8, mixed));
    list.push_back(lora_case(name + "_aligned", {16, 64}, 32, 16, mixed));
    Options dropped = mixed;
    dropped.has_bias = false;
    dropped.dropout = 0.3;
    list.push_back(lora_case(name + "_dropout", {2, 5, 17}, 9, 3, dropped));
  }
  // Enough rows for an adapter to be multiplied in parts beside bf16.
  list.push_back(lora_case("f32_adapter_tall", {40, 72}, 50, 8, {.dtype_adapter = f32}));
  list.push_back(lora_case("f32_adapter_tall_thin", {33, 70}, 35, 3, {.dtype_adapter = f32}));
  // The adapter decides: rounding its r numbers on the way to a low dtype would show.
  list.push_back(lora_case("adapter_dominates", {7, 33}, 17, 8, {.scale = 64}));
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (auto& part :
       {sized_cases(), shape_cases(), option_cases(), dropout_cases(), dtype_cases()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  struct Size {
    std::int64_t M, N, K, r;
  };
  for (const auto& [M, N, K, r] :
       {Size{1, 512, 512, 8}, {128, 1024, 1024, 8}, {512, 1024, 1024, 16}, {128, 2048, 2048, 8}}) {
    OpCase timed = lora_case(fmt::format("timed_{}x{}x{}_r{}", M, N, K, r), {M, K}, N, r,
                             {.has_bias = false, .gradient = false});
    timed.benchmark_only = true;
    timed.flops = 2.0 * static_cast<double>(M * N * K + M * r * (N + K));
    timed.bytes_per_element_of_dtype = static_cast<double>(M * K + N * K + M * N + r * (N + K));
    list.push_back(std::move(timed));
  }
  return list;
}

struct Given {
  Shape shape;
  DType dtype = DType::kF32;
  Device device = kCpuDevice;

  Tensor zeros() const { return Tensor::zeros(shape, dtype, device); }
};

// A call with some operands replaced; these fit.
struct Call {
  Given x = {{2, 3, 8}};
  Given weight = {{5, 8}};
  Given bias = {{5}};
  Given a = {{4, 8}};
  Given b = {{5, 4}};
  LoraOptions options = {};

  void operator()() const {
    lora_linear(x.zeros(), weight.zeros(), bias.zeros(), a.zeros(), b.zeros(), options);
  }
};

std::vector<ErrorCase> shape_errors() {
  const ErrorKind shape = ErrorKind::kShape;
  return {
      {"x_scalar", shape, {"lora_linear", "x [] f32@cpu"}, Call{.x = {{}}}},
      {"weight_rank", shape, {"weight [8] f32@cpu"}, Call{.weight = {{8}}}},
      {"weight_columns", shape, {"weight [5,7] f32@cpu"}, Call{.weight = {{5, 7}}}},
      {"weight_rows", shape, {"weight [6,8] f32@cpu"}, Call{.weight = {{6, 8}}}},
      {"bias_size", shape, {"bias [8] f32@cpu", "x [2,3,8] f32@cpu"}, Call{.bias = {{8}}}},
      {"bias_rank", shape, {"bias [1,5] f32@cpu"}, Call{.bias = {{1, 5}}}},
      {"a_rank", shape, {"lora_a [8] f32@cpu"}, Call{.a = {{8}}}},
      {"a_columns", shape, {"lora_a [4,5] f32@cpu"}, Call{.a = {{4, 5}}}},
      {"b_rank", shape, {"lora_b [5,4,1] f32@cpu"}, Call{.b = {{5, 4, 1}}}},
      {"b_rows", shape, {"lora_b [8,4] f32@cpu", "weight [5,8] f32@cpu"}, Call{.b = {{8, 4}}}},
      {"b_columns", shape, {"lora_b [5,3] f32@cpu", "lora_a [4,8] f32@cpu"}, Call{.b = {{5, 3}}}},
      {"b_transposed", shape, {"lora_b [4,5] f32@cpu"}, Call{.b = {{4, 5}}}},
  };
}

// The call with these dtypes: of x, of weight and bias, of lora_a, of lora_b.
Call with_dtypes(DType x, DType weight, DType a, DType b) {
  Call call;
  call.x.dtype = x;
  call.weight.dtype = weight;
  call.bias.dtype = weight;
  call.a.dtype = a;
  call.b.dtype = b;
  return call;
}

std::vector<ErrorCase> dtype_errors() {
  const DType f32 = DType::kF32;
  const DType f16 = DType::kF16;
  const DType bf16 = DType::kBF16;
  const DType i32 = DType::kI32;
  const auto refused = [](const std::string& name, const std::string& text, const Call& call) {
    return ErrorCase{name, ErrorKind::kDtype, {"lora_linear", text}, call};
  };
  Call other_bias = with_dtypes(f32, bf16, f32, f32);
  other_bias.bias.dtype = f32;
  return {
      refused("integer_x", "x [2,3,8] i32@cpu", with_dtypes(i32, i32, f32, f32)),
      refused("integer_weight", "weight [5,8] i32@cpu", with_dtypes(f32, i32, f32, f32)),
      refused("f32_weight_low_x", "weight [5,8] f32@cpu", with_dtypes(bf16, f32, f32, f32)),
      refused("f16_weight_bf16_x", "weight [5,8] f16@cpu", with_dtypes(bf16, f16, f32, f32)),
      refused("bias_dtype", "bias [5] f32@cpu", other_bias),
      refused("a_and_b", "lora_b [5,4] bf16@cpu", with_dtypes(bf16, bf16, f32, bf16)),
      refused("low_adapter_f32_x", "lora_a [4,8] bf16@cpu", with_dtypes(f32, f32, bf16, bf16)),
      refused("f16_adapter_bf16_x", "lora_b [5,4] f16@cpu", with_dtypes(bf16, bf16, f16, f16)),
      refused("integer_adapter", "lora_a [4,8] i32@cpu", with_dtypes(f32, f32, i32, i32)),
  };
}

// The call with one operand undefined: 0 is x, 1 the weight, 2 and 3 the adapter.
std::function<void()> without(std::size_t missing) {
  return [missing] {
    const Call call;
    Tensor operands[] = {call.x.zeros(), call.weight.zeros(), call.a.zeros(), call.b.zeros()};
    operands[missing] = Tensor();
    lora_linear(operands[0], operands[1], Tensor(), operands[2], operands[3]);
  };
}

std::vector<ErrorCase> argument_errors() {
  const ErrorKind argument = ErrorKind::kArgument;
  const auto frozen = [] {
    const Call call;
    const Tensor weight = call.weight.zeros().set_requires_grad(true);
    lora_linear(call.x.zeros(), weight, call.bias.zeros(), call.a.zeros(), call.b.zeros());
  };
  const Given b_there = {{5, 4}, DType::kF32, kNullDevice};
  const Given bias_there = {{5}, DType::kF32, kNullDevice};
  const double nan = std::nan("");
  return {
      {"device",
       ErrorKind::kDevice,
       {"x [2,3,8] f32@cpu", "lora_b [5,4] f32@null"},
       Call{.b = b_there}},
      {"bias_device", ErrorKind::kDevice, {"bias [5] f32@null"}, Call{.bias = bias_there}},
      {"dropout_1", argument, {"dropout", "x [2,3,8]"}, Call{.options = {.dropout = 1}}},
      {"dropout_negative", argument, {"dropout"}, Call{.options = {.dropout = -0.1}}},
      {"dropout_nan", argument, {"dropout"}, Call{.options = {.dropout = nan}}},
      {"weight_requires_gradient", argument, {"weight [5,8] f32@cpu"}, frozen},
      {"undefined_x", argument, {"x"}, without(0)},
      {"undefined_weight", argument, {"weight"}, without(1)},
      {"undefined_a", argument, {"lora_a"}, without(2)},
      {"undefined_b", argument, {"lora_b"}, without(3)},
  };
}

std::vector<ErrorCase> errors() {
  const auto run = [](const RandomKey& key) { Call{.options = {.dropout = 0.5, .key = key}}(); };
  std::vector<ErrorCase> list;
  for (auto& part :
       {shape_errors(), dtype_errors(), argument_errors(), key_errors("lora_linear", run)}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  return list;
}

}  // namespace

OpSpec spec_lora_linear() {
  return {.op = "lora_linear", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#include "reference/dora_gain_ref.hpp"

#include <cmath>
#include <functional>

#include "cases/case_parts.hpp"
#include "cases/layout_cases.hpp"
#include "reference/matmul_ref.hpp"
#include "wick/ops/lora.hpp"

namespace wick::testing {

namespace {

struct Options {
  double scale = 2;
  Values magnitude = normal(1, 2);
  Values weight = normal();
  Values a = normal();
  Values b = normal();
  Lay lay_magnitude = Lay::kDense;
  Lay lay_weight = Lay::kDense;
  Lay lay_a = Lay::kDense;
  Lay lay_b = Lay::kDense;
  std::vector<DType> dtype_adapter = {};  ///< of A and B
  bool gradient = true;
};

std::vector<Input> inputs_of(std::int64_t N, std::int64_t K, std::int64_t r, const Options& o) {
  const auto constant_input = [](const std::string& name, const Shape& shape, const Values& values,
                                 Lay lay, const std::vector<DType>& dtype) {
    return Input{.name = name,
                 .shape = shape,
                 .values = values,
                 .lay = lay,
                 .fixed_dtype = dtype,
                 .differentiable = false};
  };
  return {{.name = "magnitude",
           .shape = {N},
           .values = o.magnitude,
           .lay = o.lay_magnitude,
           .fixed_dtype = {DType::kF32}},
          constant_input("weight", {N, K}, o.weight, o.lay_weight, {}),
          constant_input("lora_a", {r, K}, o.a, o.lay_a, o.dtype_adapter),
          constant_input("lora_b", {N, r}, o.b, o.lay_b, o.dtype_adapter)};
}

// What rounding the elements of a row does to its gain: an element may cancel, so that its error is
// one of what was added up, ‖|W| + |scale| |B| |A|‖, relative to the norm itself.
Array magnitude_of_errors(std::span<const Array> in, double scale) {
  Array size = reference::dora_gain_ref(in[0], in[1], in[2], in[3], scale);
  const Array norm = reference::dora_norm_ref(in[1], in[2], in[3], scale);
  const Array added =
      reference::dora_norm_ref(reference::absolute(in[1]), reference::absolute(in[2]),
                               reference::absolute(in[3]), std::abs(scale));
  for (std::int64_t n = 0; n < size.numel(); ++n) {
    const bool is_exact = norm[n] == 0 || !std::isfinite(norm[n]);
    size[n] = is_exact ? 0 : std::abs(size[n]) * added[n] / norm[n];
  }
  return size;
}

OpCase gain_case(const std::string& name, std::int64_t N, std::int64_t K, std::int64_t r,
                 const Options& options = {}) {
  const double scale = as_f32(options.scale);
  OpCase result;
  result.name = name;
  result.inputs = inputs_of(N, K, r, options);
  result.run = [scale = options.scale](std::span<const Tensor> in) {
    return std::vector{dora_gain(in[0], in[1], in[2], in[3], scale)};
  };
  result.reference = [scale](std::span<const Array> in) {
    return std::vector{reference::dora_gain_ref(in[0], in[1], in[2], in[3], scale)};
  };
  result.tolerance.magnitude = [scale](std::span<const Array> in) {
    return std::vector{magnitude_of_errors(in, scale)};
  };
  result.tolerance.length = static_cast<double>(r + 1);
  result.gradient = options.gradient;
  return result;
}

// Around the widths of vectors, the rows of a task and the columns of a part.
std::vector<OpCase> sized_cases() {
  struct Size {
    std::int64_t N, K, r;
  };
  std::vector<OpCase> list;
  for (const auto& [N, K, r] :
       {Size{1, 1, 1},  {1, 17, 2},   {2, 3, 1},   {3, 4, 4},   {4, 15, 3},  {5, 16, 8},
        {7, 31, 16},    {8, 33, 5},   {9, 64, 2},  {16, 7, 9},  {17, 8, 7},  {33, 9, 15},
        {63, 13, 8},    {64, 5, 16},  {65, 3, 17}, {127, 9, 8}, {128, 4, 3}, {129, 17, 1},
        {193, 129, 64}, {3, 1023, 4}, {3, 1024, 4}}) {
    list.push_back(gain_case(fmt::format("{}x{}_r{}", N, K, r), N, K, r));
  }
  for (const auto& [N, K, r] :
       {Size{67, 1025, 8}, {1, 2049, 16}, {65, 3079, 2}, {1031, 31, 4}, {257, 257, 63}}) {
    list.push_back(gain_case(fmt::format("{}x{}_r{}", N, K, r), N, K, r, {.gradient = false}));
  }
  for (const std::int64_t r : {0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65}) {
    list.push_back(gain_case(fmt::format("r{}", r), 9, 19, r));
  }
  list.push_back(gain_case("r0_wide", 3, 1030, 0));
  list.push_back(gain_case("no_rows", 0, 17, 3));
  list.push_back(gain_case("no_columns", 5, 0, 3));
  return list;
}

std::vector<OpCase> value_cases() {
  std::vector<OpCase> list;
  list.push_back(gain_case("scale_inexact", 7, 33, 4, {.scale = 0.3}));
  list.push_back(gain_case("scale_negative", 7, 33, 4, {.scale = -1.5}));
  list.push_back(gain_case("scale_0", 7, 33, 4, {.scale = 0}));
  list.push_back(gain_case("update_dominates", 7, 33, 8, {.scale = 64}));
  // As an adapter begins.
  list.push_back(gain_case("b_0", 7, 33, 4, {.b = constant(0)}));
  list.push_back(gain_case("magnitude_0", 7, 33, 4, {.magnitude = constant(0)}));
  // Rows that are zero from the start, and rows that the update takes to zero.
  list.push_back(gain_case("weight_and_b_0", 3, 5, 2, {.weight = constant(0), .b = constant(0)}));
  list.push_back(gain_case("some_rows_0", 4, 3, 2,
                           {.weight = listed({1, 2, -3, 0, 0, 0}), .b = listed({1, 2, 0, 0})}));
  list.push_back(gain_case(
      "rows_cancel", 4, 5, 1,
      {.scale = 0.5, .weight = constant(3), .a = constant(-2), .b = listed({3, 1, 3, 2})}));
  // Squares of these leave the range of f32.
  list.push_back(
      gain_case("tiny_rows", 5, 19, 4, {.scale = 1e-3, .weight = normal(1e-7), .a = normal(1e-4)}));
  OpCase range = gain_case("squares_beyond_f32", 5, 19, 4,
                           {.magnitude = normal(1e-20), .weight = normal(1e25), .gradient = false});
  range.only_dtypes = {DType::kF32, DType::kBF16};
  list.push_back(range);
  range = gain_case(
      "squares_below_f32", 5, 19, 4,
      {.magnitude = normal(1e-20), .weight = normal(1e-25), .b = normal(1e-25), .gradient = false});
  range.only_dtypes = {DType::kF32, DType::kBF16};
  list.push_back(range);
  list.push_back(
      gain_case("specials_in_weight", 40, 5, 2, {.weight = specials(), .gradient = false}));
  list.push_back(
      gain_case("specials_in_magnitude", 33, 5, 2, {.magnitude = specials(), .gradient = false}));
  return list;
}

std::vector<OpCase> layout_cases() {
  std::vector<OpCase> list;
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(gain_case("weight_" + name, 9, 19, 4, {.lay_weight = lay}));
    list.push_back(gain_case("a_" + name, 9, 19, 4, {.lay_a = lay}));
    list.push_back(gain_case("b_" + name, 9, 19, 4, {.lay_b = lay}));
    if (lay == Lay::kTransposed) continue;  // the magnitude has one axis
    list.push_back(gain_case("magnitude_" + name, 9, 19, 4, {.lay_magnitude = lay}));
  }
  list.push_back(gain_case("weight_padded_rows_in_blocks", 130, 1041, 3,
                           {.lay_weight = Lay::kPaddedRows, .gradient = false}));
  return list;
}

std::vector<OpCase> dtype_cases() {
  const Options f32_adapter = {.dtype_adapter = {DType::kF32}};
  std::vector<OpCase> list;
  list.push_back(gain_case("f32_adapter", 7, 33, 4, f32_adapter));
  list.push_back(gain_case("f32_adapter_row", 1, 65, 8, f32_adapter));
  list.push_back(gain_case("f32_adapter_blocks", 67, 1030, 16, f32_adapter));
  return list;
}

// A and B may require a gradient, but the op is not recorded for them.
OpCase trained_adapter_case() {
  OpCase result = gain_case("adapter_requires_gradient", 5, 9, 2, {.gradient = false});
  result.run = [](std::span<const Tensor> in) {
    const Tensor a = in[2].detach().set_requires_grad(true);
    const Tensor b = in[3].detach().set_requires_grad(true);
    const Tensor out = dora_gain(in[0].detach(), in[1], a, b, 2);
    return std::vector{out, flag(out.dtype() == DType::kF32), flag(out.requires_grad())};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::dora_gain_ref(in[0], in[1], in[2], in[3], 2), flag_ref(),
                       flag_ref(false)};
  };
  result.tolerance.magnitude = [](std::span<const Array> in) {
    return std::vector{magnitude_of_errors(in, 2), flag_ref(), flag_ref()};
  };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (auto& part : {sized_cases(), value_cases(), layout_cases(), dtype_cases()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  list.push_back(trained_adapter_case());
  struct Size {
    std::int64_t N, K, r;
  };
  for (const auto& [N, K, r] : {Size{512, 512, 8}, {1024, 1024, 16}, {4096, 2048, 16}}) {
    OpCase timed = gain_case(fmt::format("timed_{}x{}_r{}", N, K, r), N, K, r, {.gradient = false});
    timed.benchmark_only = true;
    timed.flops = static_cast<double>(2 * N * K * r + 3 * N * K);
    timed.bytes_per_element_of_dtype = static_cast<double>(N * K + r * (N + K));
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
  Given magnitude = {{5}};
  Given weight = {{5, 8}};
  Given a = {{4, 8}};
  Given b = {{5, 4}};

  void operator()() const { dora_gain(magnitude.zeros(), weight.zeros(), a.zeros(), b.zeros(), 1); }
};

std::vector<ErrorCase> shape_errors() {
  const ErrorKind shape = ErrorKind::kShape;
  return {
      {"magnitude_size",
       shape,
       {"dora_gain: magnitude must be [5] to match the rows of weight; got magnitude [8] f32@cpu, "
        "weight [5,8] f32@cpu"},
       Call{.magnitude = {{8}}}},
      {"magnitude_rank", shape, {"magnitude [5,1] f32@cpu"}, Call{.magnitude = {{5, 1}}}},
      {"weight_vector", shape, {"weight [8] f32@cpu"}, Call{.weight = {{8}}}},
      {"weight_rank", shape, {"weight [1,5,8] f32@cpu"}, Call{.weight = {{1, 5, 8}}}},
      {"weight_rows", shape, {"weight [6,8] f32@cpu"}, Call{.weight = {{6, 8}}}},
      {"weight_columns", shape, {"weight [5,7] f32@cpu"}, Call{.weight = {{5, 7}}}},
      {"a_rank", shape, {"lora_a [8] f32@cpu"}, Call{.a = {{8}}}},
      {"a_columns", shape, {"lora_a must be [r,8]", "lora_a [4,5] f32@cpu"}, Call{.a = {{4, 5}}}},
      {"b_rank", shape, {"lora_b [5,4,1] f32@cpu"}, Call{.b = {{5, 4, 1}}}},
      {"b_rows", shape, {"lora_b [8,4] f32@cpu", "weight [5,8] f32@cpu"}, Call{.b = {{8, 4}}}},
      {"b_columns", shape, {"lora_b [5,3] f32@cpu", "lora_a [4,8] f32@cpu"}, Call{.b = {{5, 3}}}},
      {"b_transposed", shape, {"lora_b [4,5] f32@cpu"}, Call{.b = {{4, 5}}}},
  };
}

std::vector<ErrorCase> dtype_errors() {
  const DType f32 = DType::kF32;
  const DType f16 = DType::kF16;
  const DType bf16 = DType::kBF16;
  const DType i32 = DType::kI32;
  const auto refused = [](const std::string& name, const std::string& text, DType magnitude,
                          DType weight, DType a, DType b) {
    Call call;
    call.magnitude.dtype = magnitude;
    call.weight.dtype = weight;
    call.a.dtype = a;
    call.b.dtype = b;
    return ErrorCase{name, ErrorKind::kDtype, {"dora_gain", text}, call};
  };
  return {
      refused("low_magnitude", "magnitude [5] bf16@cpu", bf16, bf16, bf16, bf16),
      refused("integer_magnitude", "magnitude [5] i32@cpu", i32, f32, f32, f32),
      refused("integer_weight", "weight [5,8] i32@cpu", f32, i32, f32, f32),
      refused("a_and_b", "lora_b [5,4] bf16@cpu", f32, bf16, f32, bf16),
      refused("low_adapter_f32_weight", "lora_a [4,8] bf16@cpu", f32, f32, bf16, bf16),
      refused("f16_adapter_bf16_weight", "lora_b [5,4] f16@cpu", f32, bf16, f16, f16),
      refused("integer_adapter", "lora_a [4,8] i32@cpu", f32, f32, i32, i32),
  };
}

// The call with one operand undefined, in the order of the call.
std::function<void()> without(std::size_t missing) {
  return [missing] {
    const Call call;
    Tensor operands[] = {call.magnitude.zeros(), call.weight.zeros(), call.a.zeros(),
                         call.b.zeros()};
    operands[missing] = Tensor();
    dora_gain(operands[0], operands[1], operands[2], operands[3], 1);
  };
}

std::vector<ErrorCase> errors() {
  const ErrorKind argument = ErrorKind::kArgument;
  const auto frozen = [] {
    const Call call;
    const Tensor weight = call.weight.zeros().set_requires_grad(true);
    dora_gain(call.magnitude.zeros(), weight, call.a.zeros(), call.b.zeros(), 1);
  };
  std::vector<ErrorCase> list = shape_errors();
  for (ErrorCase& error_case : dtype_errors()) list.push_back(std::move(error_case));
  const std::vector<ErrorCase> others = {
      {"device",
       ErrorKind::kDevice,
       {"magnitude [5] f32@cpu", "lora_b [5,4] f32@null"},
       Call{.b = {{5, 4}, DType::kF32, kNullDevice}}},
      {"weight_requires_gradient", argument, {"frozen", "weight [5,8] f32@cpu"}, frozen},
      {"undefined_magnitude", argument, {"magnitude"}, without(0)},
      {"undefined_weight", argument, {"weight"}, without(1)},
      {"undefined_a", argument, {"lora_a"}, without(2)},
      {"undefined_b", argument, {"lora_b"}, without(3)},
  };
  list.insert(list.end(), others.begin(), others.end());
  return list;
}

}  // namespace

OpSpec spec_dora_gain() {
  return {.op = "dora_gain", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#include "cases/activation_cases.hpp"
#include "reference/swiglu_ref.hpp"
#include "wick/ops/activation.hpp"

namespace wick::testing {

namespace {

struct Options {
  Values gate = normal(2);
  Values up = normal();
  Lay lay_gate = Lay::kDense;
  Lay lay_up = Lay::kDense;
  bool gradient = true;
};

OpCase swiglu_case(const std::string& name, const Shape& shape, const Options& options = {}) {
  OpCase result;
  result.name = name;
  result.inputs = {
      {.name = "gate", .shape = shape, .values = options.gate, .lay = options.lay_gate},
      {.name = "up", .shape = shape, .values = options.up, .lay = options.lay_up}};
  result.run = [](std::span<const Tensor> in) { return std::vector{swiglu(in[0], in[1])}; };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::swiglu_ref(in[0], in[1])};
  };
  result.gradient = options.gradient;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const std::int64_t D : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
    list.push_back(swiglu_case(fmt::format("3x{}", D), {3, D}));
  }
  list.push_back(swiglu_case("one_dimension", {37}));
  list.push_back(swiglu_case("four_dimensions", {2, 3, 2, 17}));
  list.push_back(swiglu_case("no_rows", {0, 5}));
  list.push_back(swiglu_case("no_columns", {5, 0}));
  list.push_back(swiglu_case("2x4099", {2, 4099}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(swiglu_case("gate_" + name, {5, 19}, {.lay_gate = lay}));
    list.push_back(swiglu_case("up_" + name, {5, 19}, {.lay_up = lay}));
    list.push_back(swiglu_case("both_" + name, {2, 5, 19}, {.lay_gate = lay, .lay_up = lay}));
  }
  list.push_back(swiglu_case("large", {4, 33}, {.gate = normal(30), .up = normal(30)}));
  list.push_back(swiglu_case("small", {4, 33}, {.gate = normal(1e-3), .up = normal(1e-2)}));
  // In f16 silu(gate) is a subnormal number that must not be rounded before it is multiplied.
  list.push_back(swiglu_case("rounded_once", {4, 33},
                             {.gate = normal(1e-6), .up = normal(1e4), .gradient = false}));
  list.push_back(
      swiglu_case("gate_limits", {3, 39}, {.gate = activation_limits(), .gradient = false}));
  list.push_back(swiglu_case("up_specials", {9, 15}, {.up = specials(), .gradient = false}));
  for (const auto& [T, F] : {std::pair{1, 8192}, {128, 2816}, {1024, 2816}}) {
    OpCase timed = swiglu_case(fmt::format("{}x{}", T, F), {T, F});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 3.0 * T * F;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  return {
      {"shapes",
       ErrorKind::kShape,
       {"swiglu", "gate [2,3] f32@cpu", "up [2,4] f32@cpu"},
       [=] { swiglu(zeros({2, 3}), zeros({2, 4})); }},
      {"no_broadcasting",
       ErrorKind::kShape,
       {"gate [2,3] f32@cpu", "up [1,3] f32@cpu"},
       [=] { swiglu(zeros({2, 3}), zeros({1, 3})); }},
      {"ranks",
       ErrorKind::kShape,
       {"gate [2,3] f32@cpu", "up [3] f32@cpu"},
       [=] { swiglu(zeros({2, 3}), zeros({3})); }},
      {"scalars",
       ErrorKind::kShape,
       {"gate [] f32@cpu", "up [] f32@cpu"},
       [=] { swiglu(zeros({}), zeros({})); }},
      {"dtypes",
       ErrorKind::kDtype,
       {"gate [2] bf16@cpu", "up [2] f32@cpu"},
       [=] { swiglu(zeros({2}, DType::kBF16), zeros({2})); }},
      {"integers",
       ErrorKind::kDtype,
       {"gate [2] i32@cpu", "up [2] i32@cpu"},
       [=] { swiglu(zeros({2}, DType::kI32), zeros({2}, DType::kI32)); }},
      {"device",
       ErrorKind::kDevice,
       {"gate [2] f32@cpu", "up [2] f32@null"},
       [=] { swiglu(zeros({2}), zeros({2}, DType::kF32, kNullDevice)); }},
      {"undefined_gate", ErrorKind::kArgument, {"gate"}, [=] { swiglu(Tensor(), zeros({2})); }},
      {"undefined_up", ErrorKind::kArgument, {"up"}, [=] { swiglu(zeros({2}), Tensor()); }},
  };
}

}  // namespace

OpSpec spec_swiglu() {
  return {.op = "swiglu", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

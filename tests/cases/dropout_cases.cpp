#include "reference/dropout_ref.hpp"

#include <cmath>

#include "cases/random_cases.hpp"

namespace wick::testing {

namespace {

struct Options {
  double p = 0.3;
  Draw draw = {};
  Values values = normal();
  Lay lay = Lay::kDense;
  bool gradient = true;
};

OpCase dropout_case(const std::string& name, const Shape& shape, const Options& options = {}) {
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .values = options.values, .lay = options.lay},
                   base_input(options.draw)};
  result.run = [p = options.p, draw = options.draw](std::span<const Tensor> in) {
    return std::vector{dropout(in[0], p, key_of(draw, in[1]))};
  };
  result.reference = [p = options.p, draw = options.draw](std::span<const Array> in) {
    return std::vector{reference::dropout_ref(in[0], p, stream_of(draw))};
  };
  result.gradient = options.gradient;
  return result;
}

// p is the uniform number of element 0, which is therefore kept, or a little more, where it is not.
std::vector<OpCase> threshold_cases() {
  const double p = stream_of({}).uniform(0);
  return {dropout_case("p_is_a_drawn_number", {33}, {.p = p}),
          dropout_case("p_just_above_a_drawn_number", {33}, {.p = p + 0x1p-40}),
          dropout_case("p_just_below_a_drawn_number", {33}, {.p = p - 0x1p-40})};
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
    list.push_back(dropout_case(fmt::format("{}", n), {n}));
  }
  list.push_back(dropout_case("scalar", {}, {.p = 0.01}));
  list.push_back(dropout_case("empty", {3, 0}));
  list.push_back(dropout_case("four_dimensions", {2, 3, 5, 7}));
  list.push_back(dropout_case("4099", {4099}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(dropout_case(name, {5, 19}, {.lay = lay}));
  }
  for (const auto& [name, draw] : named_draws()) {
    list.push_back(dropout_case(name, {67}, {.draw = draw}));
  }
  list.push_back(dropout_case("p_half", {129}, {.p = 0.5}));
  list.push_back(dropout_case("p_tenth", {129}, {.p = 0.1}));
  list.push_back(dropout_case("p_tiny", {129}, {.p = 1e-9}));
  list.push_back(dropout_case("p_almost_1", {4099}, {.p = 0.999}));
  // Returns x itself, which no tape has seen.
  list.push_back(dropout_case("p_0", {67}, {.p = 0, .gradient = false}));
  for (OpCase& op_case : threshold_cases()) list.push_back(std::move(op_case));
  // What is dropped is 0 even where it was infinite.
  list.push_back(dropout_case("specials", {9, 15}, {.values = specials(), .gradient = false}));
  for (const auto& [R, D] : {std::pair{128, 1024}, {1024, 4096}}) {
    OpCase timed = dropout_case(fmt::format("{}x{}", R, D), {R, D}, {.p = 0.1});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * R * D;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto drop = [](double p, const RandomKey& key = {}) {
    dropout(Tensor::zeros({2, 3}, DType::kF32), p, key);
  };
  std::vector<ErrorCase> list = {
      {"p_1", ErrorKind::kArgument, {"dropout", "p", "x [2,3] f32@cpu"}, [=] { drop(1); }},
      {"p_negative", ErrorKind::kArgument, {"p", "x [2,3] f32@cpu"}, [=] { drop(-0.1); }},
      {"p_nan", ErrorKind::kArgument, {"p", "x [2,3] f32@cpu"}, [=] { drop(std::nan("")); }},
      {"integers",
       ErrorKind::kDtype,
       {"x [2] i32@cpu"},
       [] { dropout(Tensor::zeros({2}, DType::kI32), 0.5, {}); }},
      {"undefined", ErrorKind::kArgument, {"x"}, [] { dropout(Tensor(), 0.5, {}); }},
  };
  const auto run = [drop](const RandomKey& key) { drop(0.5, key); };
  for (ErrorCase& refused : key_errors("dropout", run)) list.push_back(std::move(refused));
  return list;
}

}  // namespace

OpSpec spec_dropout() {
  return {.op = "dropout", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

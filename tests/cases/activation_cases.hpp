#pragma once

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cases/layout_cases.hpp"
#include "harness/op_spec.hpp"

namespace wick::testing {

/// An element-wise function of one tensor.
struct Activation {
  std::string prefix;  ///< of the names of its cases
  std::function<Tensor(const Tensor&)> run;
  std::function<Array(const Array&)> reference;
};

inline OpCase activation_case(const Activation& f, const std::string& name, const Shape& shape,
                              Values values = normal(2), Lay lay = Lay::kDense) {
  OpCase result;
  result.name = f.prefix + name;
  result.inputs = {{.name = "x", .shape = shape, .values = std::move(values), .lay = lay}};
  result.run = [run = f.run](std::span<const Tensor> in) { return std::vector{run(in[0])}; };
  result.reference = [f = f.reference](std::span<const Array> in) { return std::vector{f(in[0])}; };
  return result;
}

/// Numbers at which x · sigmoid is decided by limits: −∞ has none, being −∞ · 0.
inline Values activation_limits() {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return listed({1.5, kNan, kInf, 0.0, -0.0, 1e4, -1e4, 1e-30, -2.25, 20, -20, 88.5, -88.5});
}

/// What every activation is tried on.
inline std::vector<OpCase> activation_cases(const Activation& f) {
  std::vector<OpCase> list;
  // Around the widths of vectors (4, 8, 16 and a few of them) and of blocks.
  for (const std::int64_t n :
       {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 4099}) {
    list.push_back(activation_case(f, fmt::format("{}", n), {n}));
  }
  list.push_back(activation_case(f, "scalar", {}));
  list.push_back(activation_case(f, "empty", {3, 0}));
  list.push_back(activation_case(f, "four_dimensions", {2, 3, 5, 7}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(activation_case(f, name, {5, 19}, normal(2), lay));
  }
  list.push_back(activation_case(f, "small", {97}, normal(1e-3)));
  list.push_back(activation_case(f, "large", {97}, normal(30)));
  list.push_back(activation_case(f, "limits", {39}, activation_limits()));
  list.back().gradient = false;
  // Intermediate results overflow f32, the answer does not.
  list.push_back(activation_case(f, "huge", {12}, listed({1e20, -1e20, 3e38, -3e38})));
  list.back().gradient = false;
  list.back().only_dtypes = {DType::kF32, DType::kBF16};
  for (const std::int64_t columns : {1024, 4096}) {
    OpCase timed = activation_case(f, fmt::format("1024x{}", columns), {1024, columns});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * 1024 * static_cast<double>(columns);
    list.push_back(std::move(timed));
  }
  return list;
}

/// What every activation refuses.
inline std::vector<ErrorCase> activation_errors(const std::string& op,
                                                const std::function<Tensor(const Tensor&)>& run) {
  return {
      {"integers",
       ErrorKind::kDtype,
       {op, "x [2] i32@cpu"},
       [=] { run(Tensor::zeros({2}, DType::kI32)); }},
      {"bool",
       ErrorKind::kDtype,
       {op, "x [2,3] bool@cpu"},
       [=] { run(Tensor::zeros({2, 3}, DType::kBool)); }},
      {"undefined", ErrorKind::kArgument, {op, "x"}, [=] { run(Tensor()); }},
  };
}

}  // namespace wick::testing

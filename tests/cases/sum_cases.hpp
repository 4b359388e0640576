#pragma once

#include "cases/reduction_cases.hpp"
#include "wick/ops/reduce.hpp"

// What sum and mean are tested with.

namespace wick::testing::sums {

/// One of the ops. magnitude is the reference on absolute values.
struct Reduction {
  Tensor (*op)(const Tensor&, const ReduceOptions&);
  Array (*reference)(const Array&, const std::vector<int>&, bool);
  Array (*magnitude)(const Array&, const std::vector<int>&, bool);
};

/// Elements that each result is made of.
inline double count_of(const Shape& shape, const std::vector<int>& axes) {
  double count = 1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool is_named = std::ranges::any_of(
        axes, [&](int named) { return (named < 0 ? named + shape.rank() : named) == axis; });
    if (axes.empty() || is_named) count *= static_cast<double>(shape[axis]);
  }
  return std::max(count, 1.0);
}

inline OpCase sum_case(const Reduction& reduction, const std::string& name, const Shape& shape,
                       const ReduceOptions& options, Lay lay = Lay::kDense) {
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .values = normal(8), .lay = lay}};
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{reduction.op(in[0], options)};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reduction.reference(in[0], options.axes, options.keepdim)};
  };
  result.tolerance.length = count_of(shape, options.axes);
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return std::vector{reduction.magnitude(in[0], options.axes, options.keepdim)};
  };
  result.gradient_length = 1;  // the gradient is only repeated
  return result;
}

inline void add_shapes(const Reduction& reduction, std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, const Shape& shape, const ReduceOptions& options) {
    list.push_back(sum_case(reduction, name, shape, options));
  };
  for (const std::int64_t D : reductions::kSizes) {
    add(fmt::format("3x{}", D), {3, D}, {.axes = {-1}});
  }
  for (const std::int64_t n : {8, 17, 65}) {
    add(fmt::format("first_axis_7x{}", n), {7, n}, {.axes = {0}});
  }
  add("scalar", {}, {});
  add("scalar_keepdim", {}, {.keepdim = true});
  add("vector", {41}, {});
  add("all", {3, 5, 7}, {});
  add("all_keepdim", {3, 5, 7}, {.keepdim = true});
  add("all_by_name", {3, 5, 7}, {.axes = {2, 0, 1}});
  add("first_axis_tall", {129, 5}, {.axes = {0}});
  add("middle_axis", {3, 11, 4}, {.axes = {1}});
  add("middle_axis_keepdim", {3, 11, 4}, {.axes = {-2}, .keepdim = true});
  add("outer_axes", {3, 11, 4}, {.axes = {0, 2}});
  add("outer_axes_unordered", {3, 11, 4}, {.axes = {-1, 0}, .keepdim = true});
  add("last_two_axes", {3, 5, 4}, {.axes = {1, 2}});
  add("first_two_axes", {3, 5, 18}, {.axes = {0, 1}});
  add("six_axes", {2, 3, 1, 4, 2, 3}, {.axes = {1, 3, 5}});
  add("axis_of_one", {5, 1, 3}, {.axes = {1}});
  add("no_rows", {0, 4}, {.axes = {1}});
  add("no_columns", {3, 0}, {.axes = {0}, .keepdim = true});
  add("long", {2, 4099}, {.axes = {1}});
  add("long_first_axis", {4099, 2}, {.axes = {0}});
  add("long_all", {61, 67}, {});
}

inline void add_layouts(const Reduction& reduction, std::vector<OpCase>& list) {
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(sum_case(reduction, "last_" + name, {5, 19}, {.axes = {-1}}, lay));
    list.push_back(sum_case(reduction, "first_" + name, {5, 19}, {.axes = {0}}, lay));
    list.push_back(sum_case(reduction, "all_" + name, {3, 4, 9}, {}, lay));
  }
  list.push_back(
      sum_case(reduction, "long_transposed", {3, 1031}, {.axes = {1}}, Lay::kTransposed));
}

inline void add_values(const Reduction& reduction, std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, const Shape& shape, const ReduceOptions& options,
                       const Values& values) -> OpCase& {
    list.push_back(sum_case(reduction, name, shape, options));
    list.back().inputs[0].values = values;
    list.back().gradient = false;
    return list.back();
  };
  add("specials", {9, 13}, {.axes = {1}}, specials()).only_dtypes = kFloating;
  add("specials_first_axis", {13, 9}, {.axes = {0}}, specials()).only_dtypes = kFloating;
  // A sum kept in f16 or bf16 would stand still long before the end.
  add("one_sign", {2, 4099}, {.axes = {1}}, uniform(0.5, 2)).only_dtypes = kFloating;
  add("one_sign_first_axis", {4099, 3}, {.axes = {0}}, uniform(0.5, 2)).only_dtypes = kFloating;
  // Sums on the way pass the largest f16; the last one does not.
  add("passes_f16_on_the_way", {2, 43}, {.axes = {1}},
      listed({60000, 60000, -60000, -59000, 512, -1500}))
      .only_dtypes = kFloating;
  add("cancels", {3, 64}, {.axes = {1}}, listed({1000, -1000, 0.125, 3e-3})).only_dtypes =
      kFloating;
}

inline std::vector<OpCase> cases(const Reduction& reduction) {
  std::vector<OpCase> list;
  add_shapes(reduction, list);
  add_layouts(reduction, list);
  add_values(reduction, list);
  const auto add_timed = [&](const std::string& name, const Shape& shape,
                             const ReduceOptions& options) {
    OpCase timed = sum_case(reduction, name, shape, options);
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = static_cast<double>(shape.numel());
    list.push_back(std::move(timed));
  };
  add_timed("1024x1024", {1024, 1024}, {.axes = {-1}});
  add_timed("1024x1024_first_axis", {1024, 1024}, {.axes = {0}});
  add_timed("512x2048_all", {512, 2048}, {});
  return list;
}

inline std::vector<ErrorCase> errors(const Reduction& reduction) {
  const auto refused = [op = reduction.op](const std::string& name, ErrorKind kind,
                                           const std::string& text, const Shape& shape,
                                           const ReduceOptions& options,
                                           DType dtype = DType::kF16) {
    return ErrorCase{name, kind, {text}, [=] { op(Tensor::zeros(shape, dtype), options); }};
  };
  constexpr ErrorKind kShape = ErrorKind::kShape;
  constexpr ErrorKind kDtype = ErrorKind::kDtype;
  return {
      refused("axis_too_high", kShape, "x [2,3] f16@cpu", {2, 3}, {.axes = {2}}),
      refused("axis_too_low", kShape, "x [2,3] f16@cpu", {2, 3}, {.axes = {0, -3}}),
      refused("axis_twice", kShape, "x [2,3] f16@cpu", {2, 3}, {.axes = {1, 1}}),
      refused("axis_twice_with_signs", kShape, "x [2,3] f16@cpu", {2, 3}, {.axes = {0, -2}}),
      refused("axis_of_scalar", kShape, "x [] f16@cpu", {}, {.axes = {0}}),
      refused("bool", kDtype, "x [2,3] bool@cpu", {2, 3}, {}, DType::kBool),
      refused("u8", kDtype, "x [2,3] u8@cpu", {2, 3}, {}, DType::kU8),
      {"undefined",
       ErrorKind::kArgument,
       {"x is undefined"},
       [op = reduction.op] { op(Tensor(), {}); }},
  };
}

}  // namespace wick::testing::sums

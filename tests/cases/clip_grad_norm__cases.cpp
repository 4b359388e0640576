#include "reference/clip_grad_norm__ref.hpp"

#include <cmath>
#include <limits>

#include "cases/layout_cases.hpp"
#include "wick/ops/optimizer.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

struct Options {
  double max_norm = 0.5;
  Values values = normal();
  Lay lay = Lay::kDense;
  std::vector<std::vector<DType>> dtypes = {};  ///< of each gradient; missing: that under test
};

OpCase clip_case(const std::string& name, const std::vector<Shape>& shapes,
                 const Options& options = {}) {
  const double max_norm = as_f32(options.max_norm);
  OpCase result;
  result.name = name;
  double elements = 0;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    result.inputs.push_back(
        {.name = fmt::format("gradient{}", i),
         .shape = shapes[i],
         .values = options.values,
         .lay = options.lay,
         .fixed_dtype = i < options.dtypes.size() ? options.dtypes[i] : std::vector<DType>()});
    elements += static_cast<double>(shapes[i].numel());
  }
  result.run = [max_norm](std::span<const Tensor> in) {
    std::vector<Tensor> results = {clip_grad_norm_(in, max_norm)};
    results.insert(results.end(), in.begin(), in.end());
    return results;
  };
  result.reference = [max_norm](std::span<const Array> in) {
    return reference::clip_grad_norm_ref(in, max_norm);
  };
  result.tolerance.length = std::max(elements, 1.0);
  result.gradient = false;
  return result;
}

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> list;
  for (const std::int64_t n :
       {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 20011}) {
    list.push_back(clip_case(fmt::format("{}", n), {{n}}));
  }
  list.push_back(clip_case("scalar", {{}}));
  list.push_back(clip_case("empty", {{3, 0}}));
  list.push_back(clip_case("empty_among_others", {{5}, {0}, {7}}));
  list.push_back(clip_case("three_dimensions", {{3, 5, 7}}));
  list.push_back(clip_case("two", {{8, 33}, {33}}));
  list.push_back(clip_case("many", {{1}, {17, 3}, {}, {64}, {5, 13}, {129}, {4099}, {2}, {31}}));
  list.push_back(clip_case("offset", {{65}, {5, 19}}, {.lay = Lay::kOffset}));
  list.push_back(clip_case("mixed_dtypes", {{17}, {65}, {5, 9}, {33}},
                           {.dtypes = {{DType::kBF16}, {DType::kF32}, {DType::kF16}, {}}}));
  return list;
}

std::vector<OpCase> cases() {
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<OpCase> list = shape_cases();
  const std::vector<Shape> shapes = {{33}, {4, 16}};
  // The norm is near √97.
  list.push_back(clip_case("not_clipped", shapes, {.max_norm = 20}));
  list.push_back(clip_case("just_clipped", shapes, {.max_norm = 9}));
  list.push_back(clip_case("only_measured", shapes, {.max_norm = inf}));
  list.push_back(clip_case("tiny_max_norm", shapes, {.max_norm = 1e-3}));
  list.push_back(clip_case("zeros", shapes, {.values = constant(0)}));
  // Here the 10⁻⁶ beside the norm counts: that is 3 · 10⁻⁶.
  list.push_back(clip_case("tiny", {{9}}, {.max_norm = 1e-6, .values = constant(1e-6)}));
  list.back().only_dtypes = {DType::kF32, DType::kBF16};
  // Squares overflow f16.
  list.push_back(clip_case("large", shapes, {.values = normal(1e4)}));
  // An infinite norm scales by 0: finite elements vanish, infinite ones become NaN.
  list.push_back(clip_case("infinite", {{5}, {3}}, {.values = listed({1, -2, inf, 4, -5})}));
  for (const auto& [name, timed_shapes] :
       {std::pair<std::string, std::vector<Shape>>{"timed_adapters",
                                                   std::vector<Shape>(32, Shape{8, 1024})},
        {"timed_1024x1024", {{1024, 1024}}}}) {
    OpCase timed = clip_case(name, timed_shapes);
    timed.benchmark_only = true;
    double elements = 0;
    for (const Shape& shape : timed_shapes) elements += static_cast<double>(shape.numel());
    // Read for the norm, then read and written.
    timed.bytes_per_element_of_dtype = 3 * elements;
    list.push_back(std::move(timed));
  }
  return list;
}

Tensor zeros(const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
  return Tensor::zeros(shape, dtype, device);
}

void clip(const std::vector<Tensor>& gradients, double max_norm = 1) {
  clip_grad_norm_(gradients, max_norm);
}

std::vector<ErrorCase> errors() {
  return {
      {"empty_list", ErrorKind::kArgument, {"clip_grad_norm_"}, [] { clip({}); }},
      {"undefined", ErrorKind::kArgument, {"2"}, [] { clip({zeros({3}), zeros({3}), Tensor()}); }},
      {"max_norm_0",
       ErrorKind::kArgument,
       {"max_norm", "[3] f32@cpu"},
       [] { clip({zeros({3})}, 0); }},
      {"max_norm_negative", ErrorKind::kArgument, {"max_norm"}, [] { clip({zeros({3})}, -1); }},
      {"max_norm_nan",
       ErrorKind::kArgument,
       {"max_norm"},
       [] { clip({zeros({3})}, std::nan("")); }},
      {"integers",
       ErrorKind::kDtype,
       {"[2] i32@cpu"},
       [] { clip({zeros({3}), zeros({2}, DType::kI32)}); }},
      {"device",
       ErrorKind::kDevice,
       {"[3] f32@cpu", "[2] f32@null"},
       [] { clip({zeros({3}), zeros({2}, DType::kF32, kNullDevice)}); }},
      {"strided",
       ErrorKind::kShape,
       {"[3,2] f32@cpu"},
       [] { clip({zeros({3}), transpose(zeros({2, 3}))}); }},
      {"repeated",
       ErrorKind::kShape,
       {"[3,2] f32@cpu"},
       [] { clip({broadcast_to(zeros({2}), {3, 2})}); }},
  };
}

}  // namespace

OpSpec spec_clip_grad_norm_() {
  return {.op = "clip_grad_norm_", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#include "cases/sum_cases.hpp"
#include "reference/mean_ref.hpp"

namespace wick::testing {

namespace {

const sums::Reduction kMean = {
    .op = &wick::mean, .reference = &reference::mean_ref, .magnitude = &reference::mean_magnitude};

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list = sums::errors(kMean);
  const auto refused = [&](const std::string& name, ErrorKind kind, const std::string& text,
                           const Shape& shape, const ReduceOptions& options, DType dtype) {
    list.push_back({name, kind, {text}, [=] { mean(Tensor::zeros(shape, dtype), options); }});
  };
  refused("i32", ErrorKind::kDtype, "x [2,3] i32@cpu", {2, 3}, {}, DType::kI32);
  refused("i64", ErrorKind::kDtype, "x [2,3] i64@cpu", {2, 3}, {}, DType::kI64);
  refused("of_nothing", ErrorKind::kShape, "x [0] f32@cpu", {0}, {}, DType::kF32);
  refused("empty_axis", ErrorKind::kShape, "x [3,0] f32@cpu", {3, 0}, {.axes = {1}}, DType::kF32);
  refused("one_axis_of_two_empty", ErrorKind::kShape, "x [3,0] f32@cpu", {3, 0},
          {.axes = {0, 1}, .keepdim = true}, DType::kF32);
  return list;
}

}  // namespace

OpSpec spec_mean() {
  return {.op = "mean", .dtypes = kFloating, .cases = sums::cases(kMean), .errors = errors()};
}

}  // namespace wick::testing

#include <limits>

#include "cases/move_cases.hpp"
#include "reference/copy__ref.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

// Both of the dtype under test. What dst held before is never 0, as src may be.
OpCase copy_case(const std::string& name, Input dst, Input src) {
  dst.name = "dst";
  dst.values = constant(77);
  src.name = "src";
  OpCase result;
  result.name = name;
  result.inputs = {std::move(dst), std::move(src)};
  result.run = [](std::span<const Tensor> in) {
    copy_(in[0], in[1]);
    return std::vector{in[0]};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::copy_ref(in[0], in[1])};
  };
  result.tolerance.condition = 0;
  result.gradient = false;
  return result;
}

OpCase copy_case(const std::string& name, const Shape& shape, Lay dst = Lay::kDense,
                 Lay src = Lay::kDense) {
  return copy_case(name, moves::input(shape, dst), moves::input(shape, src));
}

// From the dtype under test to `to`.
OpCase converting_case(DType to, const std::string& name, const Shape& shape, Lay dst = Lay::kDense,
                       Lay src = Lay::kDense) {
  OpCase result = copy_case(fmt::format("to_{}_{}", to_string(to), name), shape, dst, src);
  result.inputs[0].fixed_dtype = {to};
  result.reference = [to](std::span<const Array> in) {
    return std::vector{moves::converted_ref(reference::copy_ref(in[0], in[1]), to)};
  };
  return result;
}

void add_shapes(std::vector<OpCase>& list) {
  list.push_back(copy_case("scalar", {}));
  list.push_back(copy_case("empty", {4, 0}));
  for (const std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 1031}) {
    list.push_back(copy_case(fmt::format("n{}", n), {n}));
  }
  const auto repeats = [&](const std::string& name, const Shape& dst, const Shape& src,
                           Lay lay = Lay::kDense) {
    list.push_back(copy_case(name, moves::input(dst, lay), moves::input(src)));
  };
  repeats("row", {5, 19}, {19});
  repeats("column", {5, 19}, {5, 1});
  repeats("scalar_to_all", {3, 7}, {});
  repeats("middle", {2, 5, 9}, {2, 1, 9});
  repeats("six_axes", {2, 1, 2, 3, 2, 2}, {2, 3, 1, 2});
  repeats("row_to_transposed", {7, 12}, {12}, Lay::kTransposed);
  repeats("column_to_strided", {7, 12}, {7, 1}, Lay::kStrided);
  repeats("one_to_none", {0, 3}, {1, 3});
}

void add_layouts(std::vector<OpCase>& list) {
  for (const auto& [lay, name] : writable_lays()) {
    list.push_back(copy_case("into_" + name, {5, 19}, lay));
    list.push_back(copy_case("into_cube_" + name, {3, 4, 9}, lay, Lay::kTransposed));
  }
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(copy_case("from_" + name, {5, 19}, Lay::kDense, lay));
  }
  list.push_back(copy_case("tiles", {65, 33}, Lay::kDense, Lay::kTransposed));
  list.push_back(copy_case("tiles_back", {33, 65}, Lay::kTransposed));
  list.push_back(copy_case("both_transposed", {17, 31}, Lay::kTransposed, Lay::kTransposed));
  list.push_back(copy_case("both_strided", {3, 40}, Lay::kStrided, Lay::kStrided));
}

void add_conversions(std::vector<OpCase>& list) {
  for (const DType to : kAllDTypes) {
    list.push_back(converting_case(to, "dense", {3, 67}));
    list.push_back(converting_case(to, "padded", {5, 19}, Lay::kPaddedRows));
    list.push_back(converting_case(to, "strided", {5, 19}, Lay::kStrided, Lay::kTransposed));
    list.push_back(converting_case(to, "misaligned", {5, 19}, Lay::kMisaligned, Lay::kOffset));
    list.push_back(converting_case(to, "row", {6, 33}, Lay::kTransposed));
    list.back().inputs[1].shape = {33};
  }
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const DType to : {DType::kF16, DType::kI32, DType::kI64, DType::kU8, DType::kBool}) {
    list.push_back(converting_case(to, "out_of_range", {3, 11}));
    list.back().inputs[1].values =
        listed({kNan, kInf, -kInf, 1e30, -1e30, 65520, -2.5, 0.5, -0.0, 255.75, 3e9, -3e9, 7.25});
    list.back().only_dtypes = kFloating;
  }
}

// Every second column of dst: what lies between stays.
OpCase part_case() {
  OpCase result = copy_case("part_of_dst", moves::input({5, 8}), moves::input({5, 4}));
  result.run = [](std::span<const Tensor> in) {
    copy_(slice(in[0], 1, 0, 8, 2), in[1]);
    return std::vector{in[0]};
  };
  result.reference = [](std::span<const Array> in) {
    Array dst = in[0];
    for (std::int64_t i = 0; i < in[1].numel(); ++i) dst[2 * i] = in[1][i];
    return std::vector{dst};
  };
  return result;
}

OpCase version_case() {
  OpCase result = copy_case("version_goes_up", {3, 5}, Lay::kPaddedRows);
  result.run = [](std::span<const Tensor> in) {
    const std::uint64_t dst = in[0].version();
    const std::uint64_t src = in[1].version();
    copy_(in[0], in[1]);
    return std::vector{in[0], flag(in[0].version() > dst), flag(in[1].version() == src)};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::copy_ref(in[0], in[1]), flag_ref(), flag_ref()};
  };
  return result;
}

// While nothing is recorded even a parameter may be overwritten.
OpCase unrecorded_case() {
  OpCase result = copy_case("parameter_without_tape", {3, 5});
  result.only_dtypes = kFloating;
  result.run = [](std::span<const Tensor> in) {
    const Tensor parameter = in[0].detach().set_requires_grad(true);
    const NoGradGuard no_grad;
    copy_(parameter, in[1]);
    return std::vector{parameter.detach(), flag(parameter.is_leaf() && parameter.requires_grad())};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::copy_ref(in[0], in[1]), flag_ref()};
  };
  return result;
}

void add_timed(std::vector<OpCase>& list) {
  list.push_back(copy_case("1024x1024", {1024, 1024}));
  list.push_back(copy_case("transposed_1024x1024", {1024, 1024}, Lay::kDense, Lay::kTransposed));
  list.push_back(copy_case("cache_1x512x1024", {1, 512, 1024}, Lay::kPaddedRows));
  for (std::size_t i = list.size() - 3; i < list.size(); ++i) {
    list[i].benchmark_only = true;
    list[i].bytes_per_element_of_dtype = 2.0 * static_cast<double>(list[i].inputs[0].shape.numel());
  }
  list.push_back(converting_case(DType::kF32, "1024x1024", {1024, 1024}));
  list.back().only_dtypes = {DType::kBF16, DType::kF16};
  list.back().benchmark_only = true;
  list.back().bytes_per_element_of_dtype = 3.0 * 1024 * 1024;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_shapes(list);
  add_layouts(list);
  add_conversions(list);
  list.push_back(part_case());
  list.push_back(version_case());
  list.push_back(unrecorded_case());
  add_timed(list);
  return list;
}

std::vector<ErrorCase> shape_and_device_errors() {
  const auto call = [](const Shape& dst, const Shape& src, Device device = kCpuDevice) {
    return [=] { copy_(Tensor::zeros(dst, DType::kF32), Tensor::zeros(src, DType::kI32, device)); };
  };
  return {
      {"shapes",
       ErrorKind::kShape,
       {"dst [2,3] f32@cpu", "src [2,4] i32@cpu"},
       call({2, 3}, {2, 4})},
      {"src_of_higher_rank",
       ErrorKind::kShape,
       {"dst [3] f32@cpu", "src [1,3] i32@cpu"},
       call({3}, {1, 3})},
      {"dst_does_not_broadcast",
       ErrorKind::kShape,
       {"dst [1,3] f32@cpu", "src [2,3] i32@cpu"},
       call({1, 3}, {2, 3})},
      {"devices",
       ErrorKind::kDevice,
       {"dst [3] f32@cpu", "src [3] i32@null"},
       call({3}, {3}, kNullDevice)},
      {"undefined_dst",
       ErrorKind::kArgument,
       {"dst is undefined"},
       [] { copy_(Tensor(), Tensor::zeros({3}, DType::kF32)); }},
      {"undefined_src",
       ErrorKind::kArgument,
       {"src is undefined"},
       [] { copy_(Tensor::zeros({3}, DType::kF32), Tensor()); }},
  };
}

std::vector<ErrorCase> errors() {
  constexpr DType kF32 = DType::kF32;
  std::vector<ErrorCase> list = shape_and_device_errors();
  const auto refused = [&](const std::string& name, const std::vector<std::string>& text,
                           const std::function<void()>& call) {
    list.push_back({name, ErrorKind::kArgument, text, call});
  };
  refused("dst_requires_gradient", {"dst [2,3] f32@cpu", "src [3] f32@cpu"},
          [] { copy_(tracked({2, 3}), Tensor::zeros({3}, kF32)); });
  refused("dst_was_recorded", {"dst [2,2] f32@cpu", "src [2,2] f32@cpu"},
          [] { copy_(slice(tracked({2, 3}), 1, 0, 2), Tensor::zeros({2, 2}, kF32)); });
  refused("dst_repeats", {"dst [2,3] f32@cpu", "src [2,3] f32@cpu"}, [] {
    copy_(broadcast_to(Tensor::zeros({3}, kF32), {2, 3}), Tensor::zeros({2, 3}, kF32));
  });
  refused("dst_repeats_inside", {"dst [2,3] f32@cpu"}, [] {
    copy_(broadcast_to(Tensor::zeros({2, 1}, kF32), {2, 3}), Tensor::zeros({2, 3}, kF32));
  });
  refused("same_tensor", {"dst [2,3] f32@cpu", "src [2,3] f32@cpu"}, [] {
    const Tensor x = Tensor::zeros({2, 3}, kF32);
    copy_(x, x);
  });
  refused("overlapping", {"dst [2,3] f32@cpu", "src [2,3] f32@cpu"}, [] {
    const Tensor x = Tensor::zeros({3, 3}, kF32);
    copy_(slice(x, 0, 0, 2), slice(x, 0, 1, 3));
  });
  return list;
}

}  // namespace

OpSpec spec_copy_() {
  return {.op = "copy_", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

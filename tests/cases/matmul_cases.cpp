#include "cases/matmul_cases.hpp"

namespace wick::testing {

namespace {

struct Options {
  MatmulOptions call = {};
  Values a = normal();
  Values b = normal();
  Lay lay_a = Lay::kDense;
  Lay lay_b = Lay::kDense;
  std::vector<DType> dtype_a = {};
  std::vector<DType> dtype_b = {};
  bool gradient = true;
};

// a and b are the shapes of op(a) and op(b).
OpCase matmul_case(const std::string& name, const Shape& a, const Shape& b,
                   const Options& options = {}) {
  const MatmulOptions call = options.call;
  const reference::MatmulForm form = form_of(call);
  const std::int64_t M = a[a.rank() - 2];
  const std::int64_t K = a[a.rank() - 1];
  const std::int64_t N = b[b.rank() - 1];
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "a",
                    .shape = stored(a, call.transpose_a),
                    .values = options.a,
                    .lay = options.lay_a,
                    .fixed_dtype = options.dtype_a},
                   {.name = "b",
                    .shape = stored(b, call.transpose_b),
                    .values = options.b,
                    .lay = options.lay_b,
                    .fixed_dtype = options.dtype_b}};
  result.run = [call](std::span<const Tensor> in) {
    return std::vector{matmul(in[0], in[1], call)};
  };
  result.reference = [form](std::span<const Array> in) {
    return std::vector{reference::matmul_ref(in[0], in[1], form)};
  };
  result.tolerance.length = static_cast<double>(std::max<std::int64_t>(K, 1));
  result.tolerance.magnitude = [form](std::span<const Array> in) {
    const Array product =
        reference::matmul_ref(reference::absolute(in[0]), reference::absolute(in[1]), form);
    return std::vector{reference::absolute(product)};
  };
  result.gradient = options.gradient;
  // Sums over N or M, and over the batches that share an operand.
  const std::int64_t batches = std::max(a.numel() / std::max<std::int64_t>(M * K, 1),
                                        b.numel() / std::max<std::int64_t>(K * N, 1));
  result.gradient_length = static_cast<double>(std::max<std::int64_t>({M, N, K, 1}) *
                                               std::max<std::int64_t>(batches, 1));
  return result;
}

OpCase matmul_case(const MatmulSize& size, const Options& options = {}) {
  return matmul_case(size.name(), {size.M, size.K}, {size.K, size.N}, options);
}

std::vector<OpCase> sized_cases() {
  std::vector<OpCase> list;
  for (const MatmulSize& size : small_sizes()) list.push_back(matmul_case(size));
  for (const MatmulSize& size : empty_sizes()) list.push_back(matmul_case(size));
  for (const MatmulSize& size : large_sizes()) {
    list.push_back(matmul_case(size, {.gradient = false}));
  }
  for (const MatmulShapes& shapes : batched_shapes()) {
    list.push_back(matmul_case(shapes.name, shapes.a, shapes.b));
    list.push_back(matmul_case(shapes.name + "_tt", shapes.a, shapes.b, {.call = {true, true}}));
  }
  return list;
}

std::vector<OpCase> option_cases() {
  std::vector<OpCase> list;
  const auto t_or_n = [](bool is_transposed) { return is_transposed ? "t" : "n"; };
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      const std::string form = std::string(t_or_n(transpose_a)) + t_or_n(transpose_b);
      for (const double alpha : {1.0, -0.5, 0.3}) {
        list.push_back(matmul_case(form + "_alpha_" + number_name(alpha), {9, 33}, {33, 17},
                                   {.call = {transpose_a, transpose_b, alpha}}));
      }
      for (const MatmulSize& size :
           {MatmulSize{1, 65, 33}, {65, 1, 33}, {64, 66, 3}, {5, 3, 128}}) {
        OpCase op_case = matmul_case(size, {.call = {transpose_a, transpose_b}});
        op_case.name = form + "_" + size.name();
        list.push_back(std::move(op_case));
      }
      for (const auto& [lay, name] : odd_lays()) {
        const Options options = {.call = {transpose_a, transpose_b},
                                 .lay_a = lay,
                                 .lay_b = lay,
                                 .gradient = transpose_b};
        list.push_back(matmul_case(form + "_both_" + name, {2, 5, 19}, {2, 19, 7}, options));
      }
    }
  }
  // An adapter's sides, as A [r,K] and B [N,r] are stored.
  for (const MatmulSize& size : {MatmulSize{40, 8, 72},
                                 {131, 12, 1032},
                                 {12, 16, 2560},
                                 {40, 72, 8},
                                 {37, 133, 12},
                                 {9, 260, 16}}) {
    OpCase op_case = matmul_case(size, {.call = {.transpose_b = true, .alpha = 0.5}});
    op_case.name = "adapter_" + size.name();
    list.push_back(std::move(op_case));
  }
  list.push_back(matmul_case("alpha_0", {5, 7}, {7, 3}, {.call = {.alpha = 0}}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(matmul_case("a_" + name, {3, 9, 17}, {17, 8}, {.lay_a = lay}));
    list.push_back(matmul_case("b_" + name, {9, 17}, {3, 17, 8}, {.lay_b = lay}));
    list.push_back(matmul_case("a_row_" + name, {1, 33}, {33, 16}, {.lay_a = lay}));
    list.push_back(matmul_case("b_column_" + name, {16, 33}, {33, 1}, {.lay_b = lay}));
  }
  return list;
}

std::vector<OpCase> number_cases() {
  std::vector<OpCase> list;
  const std::vector<DType> f32 = {DType::kF32};
  list.push_back(matmul_case("f32_a", {5, 33}, {33, 17}, {.dtype_a = f32}));
  list.push_back(matmul_case("f32_b", {5, 33}, {33, 17}, {.dtype_b = f32}));
  list.push_back(matmul_case("f32_a_row", {1, 65}, {65, 33}, {.dtype_a = f32}));
  list.push_back(matmul_case("f32_b_column", {33, 65}, {65, 1}, {.dtype_b = f32}));
  list.push_back(
      matmul_case("f32_a_tt", {3, 5, 9}, {9, 17}, {.call = {true, true, 0.7}, .dtype_a = f32}));
  list.push_back(matmul_case("f32_b_misaligned", {2, 5, 9}, {2, 9, 17},
                             {.lay_a = Lay::kMisaligned, .lay_b = Lay::kStrided, .dtype_b = f32}));
  // Products up to 10²¹: no f16 holds them, and no difference quotient of theirs means anything.
  list.push_back(matmul_case("large", {7, 33}, {33, 9},
                             {.a = normal(1e10), .b = normal(1e10), .gradient = false}));
  list.back().only_dtypes = {DType::kF32, DType::kBF16};
  list.push_back(matmul_case("small", {7, 33}, {33, 9}, {.a = normal(1e-2), .b = normal(1e-2)}));
  // Sums of f16 that would overflow if they were not kept in f32: ±2·10⁵ cancel.
  list.push_back(matmul_case(
      "cancels", {7, 32}, {32, 9},
      {.a = listed({300, 301, 302, 303, -300, -301, -302, -303}), .b = uniform(299, 300)}));
  // One number in five of each row, which is five long, is special.
  list.push_back(matmul_case("specials_a", {16, 5}, {5, 9}, {.a = specials(), .gradient = false}));
  list.push_back(matmul_case("specials_b", {9, 5}, {5, 16},
                             {.call = {.transpose_b = true}, .b = specials(), .gradient = false}));
  return list;
}

std::vector<OpCase> timed_cases() {
  std::vector<OpCase> list;
  for (const MatmulSize& size :
       {MatmulSize{128, 1024, 1024}, {512, 512, 512}, {1024, 1024, 1024}, {1, 2048, 2048}}) {
    // As a linear layer stores its weight.
    OpCase timed = matmul_case(size, {.call = {.transpose_b = true}});
    timed.name = "timed_" + timed.name;
    timed.benchmark_only = true;
    timed.flops = flops_of(size);
    timed.bytes_per_element_of_dtype = elements_of(size);
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (auto& part : {sized_cases(), option_cases(), number_cases(), timed_cases()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  return {
      {"vector_a",
       ErrorKind::kShape,
       {"matmul", "a [3] f32@cpu", "b [3,4] f32@cpu"},
       [=] { matmul(zeros({3}), zeros({3, 4})); }},
      {"vector_b",
       ErrorKind::kShape,
       {"a [2,3] f32@cpu", "b [3] f32@cpu"},
       [=] { matmul(zeros({2, 3}), zeros({3})); }},
      {"scalar",
       ErrorKind::kShape,
       {"a [] f32@cpu", "b [] f32@cpu"},
       [=] { matmul(zeros({}), zeros({})); }},
      {"unequal_k",
       ErrorKind::kShape,
       {"a [2,3] f32@cpu", "b [4,5] f32@cpu"},
       [=] { matmul(zeros({2, 3}), zeros({4, 5})); }},
      {"unequal_k_transposed",
       ErrorKind::kShape,
       {"a [2,3] f32@cpu", "b [3,2] f32@cpu"},
       [=] { matmul(zeros({2, 3}), zeros({3, 2}), {.transpose_b = true}); }},
      {"k_of_1_does_not_repeat",
       ErrorKind::kShape,
       {"a [2,1] f32@cpu", "b [4,5] f32@cpu"},
       [=] { matmul(zeros({2, 1}), zeros({4, 5})); }},
      {"batches",
       ErrorKind::kShape,
       {"a [2,4,3] f32@cpu", "b [5,3,4] f32@cpu"},
       [=] { matmul(zeros({2, 4, 3}), zeros({5, 3, 4})); }},
      {"two_low_dtypes",
       ErrorKind::kDtype,
       {"a [2,3] bf16@cpu", "b [3,4] f16@cpu"},
       [=] { matmul(zeros({2, 3}, DType::kBF16), zeros({3, 4}, DType::kF16)); }},
      {"integers",
       ErrorKind::kDtype,
       {"a [2,3] i32@cpu", "b [3,4] i32@cpu"},
       [=] { matmul(zeros({2, 3}, DType::kI32), zeros({3, 4}, DType::kI32)); }},
      {"integer_b",
       ErrorKind::kDtype,
       {"a [2,3] f32@cpu", "b [3,4] i64@cpu"},
       [=] { matmul(zeros({2, 3}), zeros({3, 4}, DType::kI64)); }},
      {"device",
       ErrorKind::kDevice,
       {"a [2,3] f32@cpu", "b [3,4] f32@null"},
       [=] { matmul(zeros({2, 3}), zeros({3, 4}, DType::kF32, kNullDevice)); }},
      {"undefined_a", ErrorKind::kArgument, {"a"}, [=] { matmul(Tensor(), zeros({3, 4})); }},
      {"undefined_b", ErrorKind::kArgument, {"b"}, [=] { matmul(zeros({2, 3}), Tensor()); }},
  };
}

}  // namespace

OpSpec spec_matmul() {
  return {.op = "matmul", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#include <limits>

#include "cases/matmul_cases.hpp"
#include "reference/matmul__ref.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

struct Options {
  MatmulOptions call = {};
  double beta = 1;
  Values c = normal();
  Lay lay_c = Lay::kDense;
  Lay lay_a = Lay::kDense;
  Lay lay_b = Lay::kDense;
  std::vector<DType> dtype_c = {};
  std::vector<DType> dtype_a = {};
  std::vector<DType> dtype_b = {};
};

Shape product_shape(const Shape& a, const Shape& b) {
  const Array left(a.to_vector());
  const Array right(b.to_vector());
  std::vector<std::int64_t> dims = reference::matmul_batch(left, right);
  dims.insert(dims.end(), {a[a.rank() - 2], b[b.rank() - 1]});
  return Shape(std::span<const std::int64_t>(dims));
}

// a and b are the shapes of op(a) and op(b).
OpCase matmul_into_case(const std::string& name, const Shape& a, const Shape& b,
                        const Options& options = {}) {
  const MatmulOptions call = options.call;
  const reference::MatmulForm form = form_of(call);
  const double beta = as_f32(options.beta);
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "c",
                    .shape = product_shape(a, b),
                    .values = options.c,
                    .lay = options.lay_c,
                    .fixed_dtype = options.dtype_c},
                   {.name = "a",
                    .shape = stored(a, call.transpose_a),
                    .lay = options.lay_a,
                    .fixed_dtype = options.dtype_a},
                   {.name = "b",
                    .shape = stored(b, call.transpose_b),
                    .lay = options.lay_b,
                    .fixed_dtype = options.dtype_b}};
  result.run = [call, beta](std::span<const Tensor> in) {
    matmul_(in[0], in[1], in[2], call, beta);
    return std::vector{in[0]};
  };
  result.reference = [form, beta](std::span<const Array> in) {
    return std::vector{reference::accumulating_matmul_ref(in[0], in[1], in[2], form, beta)};
  };
  result.tolerance.length = static_cast<double>(a[a.rank() - 1] + 1);
  result.tolerance.magnitude = [form, beta](std::span<const Array> in) {
    reference::MatmulForm positive = form;
    positive.alpha = std::abs(form.alpha);
    return std::vector{
        reference::accumulating_matmul_ref(reference::absolute(in[0]), reference::absolute(in[1]),
                                           reference::absolute(in[2]), positive, std::abs(beta))};
  };
  result.gradient = false;
  return result;
}

OpCase matmul_into_case(const MatmulSize& size, const Options& options = {}) {
  return matmul_into_case(size.name(), {size.M, size.K}, {size.K, size.N}, options);
}

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> list;
  for (const MatmulSize& size : small_sizes()) list.push_back(matmul_into_case(size));
  for (const MatmulSize& size : large_sizes()) list.push_back(matmul_into_case(size));
  for (const MatmulSize& size : empty_sizes()) list.push_back(matmul_into_case(size));
  for (const MatmulShapes& shapes : batched_shapes()) {
    list.push_back(matmul_into_case(shapes.name, shapes.a, shapes.b));
  }
  // K = 0 leaves beta · c.
  list.push_back(matmul_into_case("k_0_beta_half", {5, 0}, {0, 3}, {.beta = 0.5}));
  list.push_back(matmul_into_case("k_0_beta_0", {5, 0}, {0, 3}, {.beta = 0}));
  return list;
}

std::vector<OpCase> option_cases() {
  const Values nan = constant(std::numeric_limits<double>::quiet_NaN());
  std::vector<OpCase> list;
  for (const double beta : {0.0, 1.0, 0.5, -1.0, 0.1}) {
    for (const double alpha : {1.0, 0.3, 0.0}) {
      const Options options = {
          .call = {.alpha = alpha}, .beta = beta, .c = beta == 0 ? nan : normal()};
      const std::string name = "alpha_" + number_name(alpha) + "_beta_" + number_name(beta);
      list.push_back(matmul_into_case(name, {9, 33}, {33, 17}, options));
    }
  }
  // What beta = 0 must not read, in shapes that go other ways.
  list.push_back(matmul_into_case("beta_0_row", {1, 65}, {65, 33}, {.beta = 0, .c = nan}));
  list.push_back(matmul_into_case("beta_0_column", {33, 65}, {65, 1}, {.beta = 0, .c = nan}));
  list.push_back(matmul_into_case("beta_0_k_0", {4, 0}, {0, 9}, {.beta = 0, .c = nan}));
  list.push_back(matmul_into_case("beta_0_batch", {3, 5, 7}, {7, 9}, {.beta = 0, .c = nan}));
  list.push_back(matmul_into_case("beta_0_padded", {5, 7}, {7, 9},
                                  {.beta = 0, .c = nan, .lay_c = Lay::kPaddedRows}));
  const MatmulOptions forms[] = {{true, false}, {false, true}, {true, true, -0.5}};
  for (const MatmulOptions& form : forms) {
    const std::string name =
        fmt::format("{}{}", form.transpose_a ? "t" : "n", form.transpose_b ? "t" : "n");
    list.push_back(matmul_into_case(name, {9, 33}, {33, 17}, {.call = form}));
    list.push_back(matmul_into_case(name + "_batch", {2, 3, 9, 16}, {3, 16, 17}, {.call = form}));
  }
  return list;
}

std::vector<OpCase> layout_cases() {
  std::vector<OpCase> list;
  for (const auto& [lay, name] :
       {NamedLay{Lay::kPaddedRows, "padded_rows"}, dense_lays()[0], dense_lays()[1]}) {
    list.push_back(matmul_into_case("c_" + name, {9, 33}, {33, 17}, {.lay_c = lay}));
    list.push_back(matmul_into_case("c_row_" + name, {1, 33}, {33, 17}, {.lay_c = lay}));
    list.push_back(matmul_into_case("c_batch_" + name, {3, 5, 9}, {9, 17}, {.lay_c = lay}));
    list.push_back(matmul_into_case("c_batch_b_" + name, {3, 5, 9}, {3, 9, 17}, {.lay_c = lay}));
  }
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(matmul_into_case("a_" + name, {3, 9, 17}, {17, 8}, {.lay_a = lay}));
    list.push_back(matmul_into_case("b_" + name, {9, 17}, {3, 17, 8}, {.lay_b = lay}));
  }
  return list;
}

std::vector<OpCase> dtype_cases() {
  const std::vector<DType> f32 = {DType::kF32};
  std::vector<OpCase> list;
  list.push_back(matmul_into_case("f32_c", {9, 33}, {33, 17}, {.dtype_c = f32}));
  list.push_back(matmul_into_case("f32_a_b", {9, 33}, {33, 17}, {.dtype_a = f32, .dtype_b = f32}));
  list.push_back(matmul_into_case("f32_a", {9, 33}, {33, 17}, {.dtype_a = f32}));
  list.push_back(matmul_into_case("f32_b", {9, 33}, {33, 17}, {.dtype_b = f32}));
  list.push_back(matmul_into_case("f32_c_b", {9, 33}, {33, 17}, {.dtype_c = f32, .dtype_b = f32}));
  list.push_back(matmul_into_case("f16_c", {9, 33}, {33, 17}, {.dtype_c = {DType::kF16}}));
  list.push_back(matmul_into_case("bf16_c", {9, 33}, {33, 17},
                                  {.lay_c = Lay::kPaddedRows, .dtype_c = {DType::kBF16}}));
  // c is rounded once: 2048 + small numbers, whose sum counts.
  list.push_back(matmul_into_case("rounded_once", {5, 129}, {129, 8}, {.c = constant(2048)}));
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (auto& part : {shape_cases(), option_cases(), layout_cases(), dtype_cases()}) {
    list.insert(list.end(), part.begin(), part.end());
  }
  for (const MatmulSize& size : {MatmulSize{16, 1024, 512}, {1024, 1024, 16}, {512, 512, 512}}) {
    OpCase timed = matmul_into_case(size, {.call = {.transpose_a = true}});
    timed.name = "timed_" + timed.name;
    timed.benchmark_only = true;
    timed.flops = flops_of(size);
    timed.bytes_per_element_of_dtype = elements_of(size) + static_cast<double>(size.M * size.N);
    list.push_back(std::move(timed));
  }
  return list;
}

Tensor zeros(const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
  return Tensor::zeros(shape, dtype, device);
}

Tensor with_gradient(const Shape& shape) { return zeros(shape).set_requires_grad(true); }

std::vector<ErrorCase> shape_errors() {
  return {
      {"shape_of_c",
       ErrorKind::kShape,
       {"matmul_", "c [2,5] f32@cpu", "a [2,3] f32@cpu", "b [3,4] f32@cpu"},
       [] { matmul_(zeros({2, 5}), zeros({2, 3}), zeros({3, 4})); }},
      {"c_does_not_broadcast",
       ErrorKind::kShape,
       {"c [1,4] f32@cpu"},
       [] { matmul_(zeros({1, 4}), zeros({2, 3}), zeros({3, 4})); }},
      {"c_without_batch",
       ErrorKind::kShape,
       {"c [2,4] f32@cpu", "a [1,2,3] f32@cpu"},
       [] { matmul_(zeros({2, 4}), zeros({1, 2, 3}), zeros({3, 4})); }},
      {"vector_a",
       ErrorKind::kShape,
       {"a [3] f32@cpu"},
       [] { matmul_(zeros({4}), zeros({3}), zeros({3, 4})); }},
      {"unequal_k",
       ErrorKind::kShape,
       {"a [2,3] f32@cpu", "b [4,4] f32@cpu"},
       [] { matmul_(zeros({2, 4}), zeros({2, 3}), zeros({4, 4})); }},
      {"batches",
       ErrorKind::kShape,
       {"a [2,4,3] f32@cpu", "b [5,3,4] f32@cpu"},
       [] { matmul_(zeros({5, 4, 4}), zeros({2, 4, 3}), zeros({5, 3, 4})); }},
      {"two_low_dtypes",
       ErrorKind::kDtype,
       {"a [2,3] bf16@cpu", "b [3,4] f16@cpu"},
       [] { matmul_(zeros({2, 4}), zeros({2, 3}, DType::kBF16), zeros({3, 4}, DType::kF16)); }},
      {"integer_c",
       ErrorKind::kDtype,
       {"c [2,4] i32@cpu"},
       [] { matmul_(zeros({2, 4}, DType::kI32), zeros({2, 3}), zeros({3, 4})); }},
      {"integers",
       ErrorKind::kDtype,
       {"a [2,3] i32@cpu", "b [3,4] i32@cpu"},
       [] { matmul_(zeros({2, 4}), zeros({2, 3}, DType::kI32), zeros({3, 4}, DType::kI32)); }},
      {"device",
       ErrorKind::kDevice,
       {"c [2,4] f32@null", "a [2,3] f32@cpu"},
       [] { matmul_(zeros({2, 4}, DType::kF32, kNullDevice), zeros({2, 3}), zeros({3, 4})); }},
  };
}

std::vector<ErrorCase> argument_errors() {
  return {
      {"c_requires_gradient",
       ErrorKind::kArgument,
       {"c [2,4] f32@cpu"},
       [] { matmul_(with_gradient({2, 4}), zeros({2, 3}), zeros({3, 4})); }},
      {"a_requires_gradient",
       ErrorKind::kArgument,
       {"a [2,3] f32@cpu"},
       [] { matmul_(zeros({2, 4}), with_gradient({2, 3}), zeros({3, 4})); }},
      {"b_requires_gradient",
       ErrorKind::kArgument,
       {"b [3,4] f32@cpu"},
       [] { matmul_(zeros({2, 4}), zeros({2, 3}), with_gradient({3, 4})); }},
      {"c_is_a",
       ErrorKind::kArgument,
       {"c [3,3] f32@cpu", "a [3,3] f32@cpu"},
       [] {
         const Tensor both = zeros({3, 3});
         matmul_(both, both, zeros({3, 3}));
       }},
      {"c_shares_memory_with_b",
       ErrorKind::kArgument,
       {"c [3,3] f32@cpu", "b [3,3] f32@cpu"},
       [] {
         const Tensor both = zeros({3, 3});
         matmul_(both, zeros({3, 3}), transpose(both));
       }},
      {"c_repeats",
       ErrorKind::kArgument,
       {"c [2,4] f32@cpu"},
       [] { matmul_(broadcast_to(zeros({4}), {2, 4}), zeros({2, 3}), zeros({3, 4})); }},
      {"undefined_c",
       ErrorKind::kArgument,
       {"c"},
       [] { matmul_(Tensor(), zeros({2, 3}), zeros({3, 4})); }},
      {"undefined_a",
       ErrorKind::kArgument,
       {"a"},
       [] { matmul_(zeros({2, 4}), Tensor(), zeros({3, 4})); }},
      {"undefined_b",
       ErrorKind::kArgument,
       {"b"},
       [] { matmul_(zeros({2, 4}), zeros({2, 3}), Tensor()); }},
  };
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list = shape_errors();
  for (ErrorCase& error_case : argument_errors()) list.push_back(std::move(error_case));
  return list;
}

}  // namespace

OpSpec spec_matmul_() {
  return {.op = "matmul_", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#include "wick/ops/embedding.hpp"

#include "cases/layout_cases.hpp"
#include "reference/embedding_ref.hpp"

namespace wick::testing {

namespace {

struct Options {
  Values values = normal();
  Values ids = {};  ///< empty: any row
  Lay lay_weight = Lay::kDense;
  Lay lay_ids = Lay::kDense;
  DType ids_dtype = DType::kI64;
  bool gradient = true;
};

OpCase embedding_case(const std::string& name, const Shape& weight, const Shape& ids,
                      const Options& options = {}) {
  const Values any_row = integers(0, std::max<std::int64_t>(weight[0], 1));
  OpCase result;
  result.name = name;
  result.inputs = {
      {.name = "weight", .shape = weight, .values = options.values, .lay = options.lay_weight},
      {.name = "ids",
       .shape = ids,
       .values = options.ids ? options.ids : any_row,
       .lay = options.lay_ids,
       .fixed_dtype = {options.ids_dtype},
       .differentiable = false}};
  result.run = [](std::span<const Tensor> in) { return std::vector{embedding(in[0], in[1])}; };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::embedding_ref(in[0], in[1])};
  };
  result.tolerance.condition = 0;  // elements are only moved
  result.gradient = options.gradient;
  result.gradient_length = static_cast<double>(std::max<std::int64_t>(ids.numel(), 1));
  result.gradient_condition = 1;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const std::int64_t D : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129}) {
    list.push_back(embedding_case(fmt::format("11x{}", D), {11, D}, {13}));
  }
  list.push_back(embedding_case("i32", {11, 17}, {13}, {.ids_dtype = DType::kI32}));
  list.push_back(embedding_case("one_row", {1, 9}, {5}));
  list.push_back(embedding_case("one_id", {31, 9}, {1}));
  list.push_back(embedding_case("scalar_id", {31, 9}, {}));
  list.push_back(embedding_case("batch_time", {37, 9}, {3, 17}));
  list.push_back(embedding_case("ids_of_rank_5", {7, 5}, {2, 1, 3, 2, 2}));
  list.push_back(embedding_case("no_ids", {7, 5}, {0}));
  list.push_back(embedding_case("no_ids_no_rows", {0, 5}, {2, 0}));
  list.push_back(embedding_case("no_columns", {7, 0}, {4}));
  list.push_back(embedding_case("first_and_last", {65, 8}, {4}, {.ids = listed({64, 0, 0, 64})}));
  list.push_back(embedding_case("all_equal", {7, 33}, {129}, {.ids = constant(5)}));
  list.push_back(embedding_case("many_ids", {5, 3}, {1031}));
  list.push_back(embedding_case("large_table", {1009, 16}, {257}, {.gradient = false}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(embedding_case("weight_" + name, {7, 19}, {11}, {.lay_weight = lay}));
    list.push_back(embedding_case("ids_" + name, {7, 19}, {3, 5}, {.lay_ids = lay}));
  }
  list.push_back(embedding_case("ids_i32_misaligned", {7, 19}, {3, 5},
                                {.lay_ids = Lay::kMisaligned, .ids_dtype = DType::kI32}));
  list.push_back(
      embedding_case("specials", {9, 15}, {6}, {.values = specials(), .gradient = false}));
  for (const auto& [T, D] : {std::pair{1, 4096}, {128, 1024}, {1024, 2048}}) {
    OpCase timed = embedding_case(fmt::format("{}x{}", T, D), {8192, D}, {T});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * T * D;
    list.push_back(std::move(timed));
  }
  return list;
}

Tensor weight_of(const Shape& shape, DType dtype = DType::kF32) {
  return Tensor::zeros(shape, dtype);
}

Tensor ids_of(const Shape& shape, DType dtype = DType::kI64, Device device = kCpuDevice) {
  return Tensor::zeros(shape, dtype, device);
}

// 40 ids, of which the one at `position` is `value`.
template <class T>
Tensor one_bad_id(std::size_t position, T value) {
  std::vector<T> ids(40, T{2});
  ids[position] = value;
  return Tensor::from_values(ids, {40});
}

std::vector<ErrorCase> errors() {
  return {
      {"id_too_large",
       ErrorKind::kArgument,
       {"embedding", "37", "ids [40] i64@cpu"},
       [] { embedding(weight_of({5, 2}), one_bad_id<std::int64_t>(37, 5)); }},
      {"id_negative",
       ErrorKind::kArgument,
       {"39", "ids [40] i64@cpu", "weight [5,2] f32@cpu"},
       [] { embedding(weight_of({5, 2}), one_bad_id<std::int64_t>(39, -1)); }},
      {"id_negative_i32",
       ErrorKind::kArgument,
       {"19", "ids [40] i32@cpu"},
       [] { embedding(weight_of({5, 2}), one_bad_id<std::int32_t>(19, -1)); }},
      {"id_beyond_i32",
       ErrorKind::kArgument,
       {"11", "ids [40] i64@cpu"},
       [] { embedding(weight_of({5, 2}), one_bad_id(11, (std::int64_t{1} << 32) + 1)); }},
      {"no_rows",
       ErrorKind::kArgument,
       {"weight [0,2] f32@cpu", "ids [1] i64@cpu"},
       [] { embedding(weight_of({0, 2}), ids_of({1})); }},
      {"weight_vector",
       ErrorKind::kShape,
       {"weight [5] f32@cpu", "ids [3] i64@cpu"},
       [] { embedding(weight_of({5}), ids_of({3})); }},
      {"weight_of_rank_3",
       ErrorKind::kShape,
       {"weight [5,2,2] f32@cpu"},
       [] { embedding(weight_of({5, 2, 2}), ids_of({3})); }},
      {"ids_of_rank_6",
       ErrorKind::kShape,
       {"ids [1,1,1,1,1,2] i64@cpu"},
       [] { embedding(weight_of({5, 2}), ids_of({1, 1, 1, 1, 1, 2})); }},
      {"floating_ids",
       ErrorKind::kDtype,
       {"ids [3] f32@cpu"},
       [] { embedding(weight_of({5, 2}), ids_of({3}, DType::kF32)); }},
      {"byte_ids",
       ErrorKind::kDtype,
       {"ids [3] u8@cpu"},
       [] { embedding(weight_of({5, 2}), ids_of({3}, DType::kU8)); }},
      {"integer_weight",
       ErrorKind::kDtype,
       {"weight [5,2] i32@cpu"},
       [] { embedding(weight_of({5, 2}, DType::kI32), ids_of({3})); }},
      {"device",
       ErrorKind::kDevice,
       {"weight [5,2] f32@cpu", "ids [3] i64@null"},
       [] { embedding(weight_of({5, 2}), ids_of({3}, DType::kI64, kNullDevice)); }},
      {"undefined_weight",
       ErrorKind::kArgument,
       {"weight"},
       [] { embedding(Tensor(), ids_of({3})); }},
      {"undefined_ids",
       ErrorKind::kArgument,
       {"ids"},
       [] { embedding(weight_of({5, 2}), Tensor()); }},
  };
}

}  // namespace

OpSpec spec_embedding() {
  return {.op = "embedding", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

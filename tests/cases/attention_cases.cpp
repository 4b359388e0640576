#include "wick/ops/attention.hpp"

#include <fmt/format.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cases/attention_cases.hpp"
#include "cases/attention_errors.hpp"
#include "harness/op_spec.hpp"
#include "reference/attention_ref.hpp"
#include "reference/reshape_ref.hpp"
#include "reference/slice_ref.hpp"
#include "reference/transpose_ref.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

using Size = AttentionSize;
using Options = AttentionCaseOptions;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Normal numbers, NaN for the keys that hidden() names with 1.
Values nan_where(const PerKey& hidden, const Size& size) {
  return [=, numbers = normal()](Rng& rng, std::int64_t i, std::int64_t n) {
    const std::int64_t key = i / (size.Hkv * size.Dh);
    const double value = numbers(rng, i, n);
    return hidden(key / size.S, key % size.S) != 0 ? kNan : value;
  };
}

void add_sizes(std::vector<OpCase>& list) {
  const auto add_square = [&](std::int64_t T, bool causal) {
    list.push_back(attention_case(fmt::format("{}_{}", causal ? "causal" : "full", T),
                                  {.T = T, .S = T, .Dh = T < 60 ? 8 : 3}, {.causal = causal}));
  };
  // One below, at and above the edges of blocks.
  for (const std::int64_t T : {1, 2, 3, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129}) {
    add_square(T, true);
  }
  for (const std::int64_t T : {1, 7, 16, 17, 33, 64, 65, 97}) add_square(T, false);
  // Fewer queries than keys: a cache.
  const auto add_decode = [&](std::int64_t T, std::int64_t S, bool causal) {
    list.push_back(attention_case(fmt::format("{}_{}_of_{}", causal ? "causal" : "full", T, S),
                                  {.T = T, .S = S, .H = 2, .Hkv = 1, .Dh = 5}, {.causal = causal}));
  };
  for (const auto& [T, S] : {std::pair{1, 1},
                             {1, 33},
                             {1, 128},
                             {2, 3},
                             {3, 65},
                             {16, 17},
                             {17, 64},
                             {33, 129},
                             {63, 64}}) {
    add_decode(T, S, true);
  }
  for (const auto& [T, S] : {std::pair{1, 129}, {17, 33}}) add_decode(T, S, false);
  for (const std::int64_t Dh : {1, 3, 16, 40, 64, 80, 128, 256}) {
    list.push_back(
        attention_case(fmt::format("head_{}", Dh), {.T = 5, .S = 9, .H = 2, .Hkv = 2, .Dh = Dh}));
  }
  for (const auto& [H, Hkv] : {std::pair{2, 1}, {3, 3}, {4, 2}, {6, 2}, {8, 1}, {9, 3}}) {
    list.push_back(attention_case(fmt::format("heads_{}_of_{}", H, Hkv),
                                  {.B = 2, .T = 7, .S = 7, .H = H, .Hkv = Hkv, .Dh = 4}));
  }
}

void add_empty(std::vector<OpCase>& list) {
  const Options full = {.causal = false};
  list.push_back(attention_case("more_queries_than_keys", {.T = 9, .S = 4}, full));
  list.push_back(attention_case("no_keys", {.T = 3, .S = 0}, full));
  list.push_back(attention_case("no_queries", {.T = 0, .S = 3}));
  list.push_back(attention_case("neither", {.T = 0, .S = 0}));
  list.push_back(attention_case("no_batch", {.B = 0, .T = 3, .S = 3}));
  list.push_back(attention_case("no_heads", {.T = 3, .S = 3, .H = 0}));
}

void add_windows(std::vector<OpCase>& list) {
  for (const std::int64_t window : {1, 2, 16, 17, 40}) {
    list.push_back(attention_case(fmt::format("causal_window_{}", window),
                                  {.T = 37, .S = 37, .Dh = 6}, {.window = window}));
  }
  for (const std::int64_t window : {1, 5}) {
    list.push_back(attention_case(fmt::format("full_window_{}", window),
                                  {.T = 37, .S = 37, .Dh = 4},
                                  {.causal = false, .window = window}));
  }
}

void add_masks(std::vector<OpCase>& list) {
  const Size size = {.B = 3, .T = 18, .S = 18, .H = 2, .Hkv = 1, .Dh = 4};
  const Size decode = {.B = 3, .T = 3, .S = 21, .H = 2, .Hkv = 1, .Dh = 4};
  // With causal, queries before the first visible key see nothing; row 1 of all_hidden never does.
  const PerKey left = padding({0, 5, 17}, 18);
  const PerKey right = padding({0, -5, -17}, 18);
  const PerKey all = padding({2, 18, -1}, 18);
  const PerKey holes = [](std::int64_t b, std::int64_t s) { return (s + b) % 3 != 0 ? 1 : 0; };
  const PerKey packed = documents({4, 5, 13});
  const PerKey two = documents({7, 19});
  for (const bool causal : {true, false}) {
    const auto add_case = [&](const std::string& name, const Size& shape, Options o) {
      o.causal = causal;
      list.push_back(attention_case((causal ? "causal_" : "full_") + name, shape, o));
    };
    add_case("left_padding", size, {.key_mask = left});
    add_case("right_padding", size, {.key_mask = right});
    add_case("all_hidden", size, {.key_mask = all});
    add_case("segments", size, {.segments = packed});
    add_case("segments_window", size, {.window = 3, .segments = packed});
    add_case("everything", size, {.scale = 0.7, .window = 6, .key_mask = left, .segments = packed});
    add_case("decode_everything", decode, {.window = 9, .key_mask = holes, .segments = two});
    if (!causal) continue;
    add_case("holes", size, {.key_mask = holes});
    add_case("segments_mask", size, {.key_mask = holes, .segments = packed});
    add_case("left_padding_window", size, {.window = 4, .key_mask = left});
    add_case("decode_left_padding", decode, {.key_mask = padding({0, 20, 6}, 21)});
    add_case("decode_right_padding", decode, {.key_mask = padding({-3, -20, 0}, 21)});
    add_case("decode_window", decode, {.window = 5});
    add_case("decode_segments", decode, {.segments = two});
  }
  const Size blocks = {.B = 2, .T = 70, .S = 130, .H = 1, .Hkv = 1, .Dh = 2};
  list.push_back(
      attention_case("blocks_left_padding", blocks, {.key_mask = padding({65, 129}, 130)}));
  list.push_back(attention_case("blocks_segments", blocks, {.segments = documents({61, 64, 100})}));
  list.push_back(attention_case("blocks_window", blocks, {.window = 33}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    list.push_back(attention_case(fmt::format("mask_lay_{}", static_cast<int>(lay)), size,
                                  {.key_mask = left, .segments = packed, .mask_lay = lay}));
  }
}

// One of q, k and v as a part of a larger input.
struct Part {
  std::size_t input;
  std::function<Tensor(const Tensor&)> tensor;
  std::function<Array(const Array&)> array;
};

// The case with its q, k and v taken out of inputs of these shapes.
OpCase through_views(OpCase base, const std::vector<Shape>& shapes,
                     const std::vector<Part>& parts) {
  base.inputs.clear();
  for (const Shape& shape : shapes) {
    base.inputs.push_back({.name = fmt::format("input_{}", base.inputs.size()), .shape = shape});
  }
  base.run = [=, run = base.run](std::span<const Tensor> in) {
    std::vector<Tensor> views;
    views.reserve(parts.size());
    for (const Part& part : parts) views.push_back(part.tensor(in[part.input]));
    return run(views);
  };
  for (auto* reference : {&base.reference, &base.tolerance.magnitude}) {
    *reference = [=, inner = *reference](std::span<const Array> in) {
      std::vector<Array> views;
      views.reserve(parts.size());
      for (const Part& part : parts) views.push_back(part.array(in[part.input]));
      return inner(views);
    };
  }
  return base;
}

// As models hold them: a cache that is filled in part, heads before time, one projection for all
// three.
void add_views(std::vector<OpCase>& list) {
  const Size size = {.B = 2, .T = 3, .S = 7, .H = 4, .Hkv = 2, .Dh = 6};
  const auto whole = [](const auto& x) { return x; };
  const auto filled = [](std::size_t input) {
    return Part{input, [](const Tensor& x) { return slice(x, 1, 0, 7); },
                [](const Array& x) { return reference::slice_ref(x, 1, 0, 7, 1); }};
  };
  list.push_back(through_views(attention_case("cache", size),
                               {{2, 3, 4, 6}, {2, 12, 2, 6}, {2, 12, 2, 6}},
                               {{0, whole, whole}, filled(1), filled(2)}));
  const auto exchanged = [](std::size_t input) {
    return Part{input, [](const Tensor& x) { return transpose(x, 1, 2); },
                [](const Array& x) { return reference::transpose_ref(x, 1, 2); }};
  };
  list.push_back(through_views(attention_case("head_major", size),
                               {{2, 4, 3, 6}, {2, 2, 7, 6}, {2, 2, 7, 6}},
                               {exchanged(0), exchanged(1), exchanged(2)}));
  const auto heads = [](std::int64_t begin, std::int64_t end) {
    return Part{0,
                [=](const Tensor& x) {
                  return reshape(slice(x, 2, begin * 6, end * 6), {2, 5, end - begin, 6});
                },
                [=](const Array& x) {
                  return reference::reshape_ref(reference::slice_ref(x, 2, begin * 6, end * 6, 1),
                                                {2, 5, end - begin, 6});
                }};
  };
  list.push_back(
      through_views(attention_case("packed", {.B = 2, .T = 5, .S = 5, .H = 4, .Hkv = 2, .Dh = 6}),
                    {{2, 5, 8 * 6}}, {heads(0, 4), heads(4, 6), heads(6, 8)}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    list.push_back(attention_case(fmt::format("lay_{}", static_cast<int>(lay)),
                                  {.B = 2, .T = 5, .S = 9, .H = 4, .Hkv = 2, .Dh = 7},
                                  {.lay = lay}));
  }
}

// NaN in keys and values that no query sees, or that only some do.
void add_nan(std::vector<OpCase>& list) {
  const auto add_case = [&](const std::string& name, const Size& shape, Options o,
                            const PerKey& hidden) {
    o.k = nan_where(hidden, shape);
    o.v = o.k;
    o.gradient = false;
    list.push_back(attention_case("nan_" + name, shape, o));
  };
  const auto inverse = [](const PerKey& f) {
    return [=](std::int64_t b, std::int64_t s) { return f(b, s) == 0 ? 1.0 : 0.0; };
  };
  const Size size = {.B = 3, .T = 18, .S = 18, .H = 2, .Hkv = 1, .Dh = 5};
  const Size decode = {.B = 1, .T = 2, .S = 35, .H = 4, .Hkv = 2, .Dh = 5};
  for (const bool causal : {true, false}) {
    const std::string kind = causal ? "causal_" : "full_";
    for (const auto& [name, mask] : {std::pair{"left_padding", padding({0, 5, 17}, 18)},
                                     {"right_padding", padding({0, -5, -17}, 18)},
                                     {"all_hidden", padding({18, 1, -18}, 18)}}) {
      add_case(kind + name, size, {.causal = causal, .key_mask = mask}, inverse(mask));
    }
    // Queries stand at 33 and 34.
    add_case(kind + "beyond_window", decode, {.causal = causal, .window = 4},
             [](std::int64_t, std::int64_t s) { return s < 30 ? 1 : 0; });
    add_case(kind + "other_segment", decode, {.causal = causal, .segments = documents({20})},
             [](std::int64_t, std::int64_t s) { return s < 20 ? 1 : 0; });
  }
  // Hidden from some queries only: seen by the last query alone, or by the queries of one document.
  const PerKey last = [](std::int64_t, std::int64_t s) { return s == 18 ? 1 : 0; };
  const Size alone = {.T = 19, .S = 19, .Dh = 6};
  add_case("future", alone, {}, last);
  Options future_key = {.gradient = false};
  future_key.k = nan_where(last, alone);
  list.push_back(attention_case("nan_future_key", alone, future_key));
  add_case("one_document", alone, {.causal = false, .segments = documents({5, 9})},
           [](std::int64_t, std::int64_t s) { return s == 7 ? 1 : 0; });
}

// NaN is added to hidden keys and values, so that the gradient can be had: zeros for them.
OpCase nan_gradient() {
  const Size size = {.B = 2, .T = 11, .S = 11, .H = 2, .Hkv = 1, .Dh = 4};
  const PerKey mask = padding({4, -3}, 11);
  const Options o = {.key_mask = mask};
  OpCase result = attention_case("nan_gradient", size, o);
  const PerKey poison = [=](std::int64_t b, std::int64_t s) { return mask(b, s) == 0 ? kNan : 0; };
  result.inputs.push_back({.name = "poison",
                           .shape = {size.B, size.S, 1, 1},
                           .values = per_key(poison, size.S),
                           .differentiable = false});
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{
        attention(in[0], add(in[1], in[4]), add(in[2], in[4]), attention_options(in, o))};
  };
  return result;
}

void add_values(std::vector<OpCase>& list) {
  const Size size = {.B = 2, .T = 9, .S = 9, .H = 2, .Hkv = 1};
  list.push_back(attention_case("scale", size, {.scale = 0.3}));
  list.push_back(attention_case("scale_large", size, {.scale = 4}));
  list.push_back(attention_case("scores_of_1e3", size,
                                {.q = normal(1000), .score_size = 1000, .gradient = false}));
  list.push_back(attention_case("values_of_1e3", size, {.v = normal(1000)}));
  list.push_back(attention_case("equal_scores", size, {.q = constant(0)}));
  list.push_back(attention_case("nan_query", {.T = 3, .S = 3, .Dh = 2},
                                {.q = listed({1, -1, kNan, 2, 0.5, 3}), .gradient = false}));
}

void add_benchmarks(std::vector<OpCase>& list) {
  for (const Size& size : {Size{.T = 512, .S = 512, .H = 16, .Hkv = 16, .Dh = 64},
                           Size{.T = 1024, .S = 1024, .H = 9, .Hkv = 3, .Dh = 64},
                           Size{.B = 4, .T = 1, .S = 2048, .H = 32, .Hkv = 8, .Dh = 128}}) {
    const auto& [B, T, S, H, Hkv, Dh] = size;
    OpCase timed = attention_case(fmt::format("{}x{}_of_{}x{}_{}x{}", B, T, S, H, Hkv, Dh), size,
                                  {.gradient = false});
    timed.benchmark_only = true;
    const std::int64_t seen = T * (S - T) + T * (T + 1) / 2;
    timed.flops = 4.0 * static_cast<double>(B * H * seen * Dh);
    timed.bytes_per_element_of_dtype = 2.0 * static_cast<double>(B * (T * H + S * Hkv) * Dh);
    list.push_back(std::move(timed));
  }
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_sizes(list);
  add_empty(list);
  add_windows(list);
  add_masks(list);
  add_views(list);
  add_nan(list);
  list.push_back(nan_gradient());
  add_values(list);
  add_benchmarks(list);
  return list;
}

}  // namespace

OpSpec spec_attention() {
  return {.op = "attention", .dtypes = kFloating, .cases = cases(), .errors = attention_errors()};
}

}  // namespace wick::testing

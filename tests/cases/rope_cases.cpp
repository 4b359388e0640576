#include "wick/ops/rope.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "harness/op_spec.hpp"
#include "reference/rope_ref.hpp"

namespace wick::testing {

namespace {

double round_to_f32(double value) { return static_cast<double>(static_cast<float>(value)); }

// The reference's own frequencies, as the f32 operand that the op gets: rounding them turns a
// vector at position 10⁶ by up to 0.03, so both must.
Array expected_inv_freq(const RopeOptions& o) {
  const std::int64_t dim = o.rotary_dim;
  Array exact;
  switch (o.scaling) {
    case RopeScaling::kDefault:
      exact = reference::rope_default_frequencies(dim, o.rope_theta);
      break;
    case RopeScaling::kLinear:
      exact = reference::rope_linear_frequencies(dim, o.rope_theta, o.factor);
      break;
    case RopeScaling::kLlama3:
      exact = reference::rope_llama3_frequencies(dim, o.rope_theta, o.factor, o.low_freq_factor,
                                                 o.high_freq_factor,
                                                 o.original_max_position_embeddings);
      break;
    case RopeScaling::kYarn:
      exact = reference::rope_yarn_frequencies(
          dim, o.rope_theta, o.factor,
          {o.original_max_position_embeddings, o.beta_fast, o.beta_slow, o.truncate});
      break;
  }
  for (double& frequency : exact.data) frequency = round_to_f32(frequency);
  return exact;
}

double expected_attention_factor(const RopeOptions& o) {
  if (o.scaling != RopeScaling::kYarn) return 1;
  const double given = o.attention_factor;
  return round_to_f32(given != 0 ? given : reference::rope_yarn_attention_factor(o.factor));
}

struct Options {
  Lay lay = Lay::kDense;
  bool positions_per_batch = false;
  Lay positions_lay = Lay::kDense;
  Values positions = integers(0, 4000);
  DType positions_dtype = DType::kI64;
  Values values = normal();
  bool gradient = true;
};

void add_tolerance(OpCase& result, std::int64_t P, double factor) {
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return std::vector{reference::rope_magnitude(in[0], P, factor)};
  };
}

std::vector<Input> rope_inputs(const Shape& shape, const Options& options) {
  const Shape per_batch = {shape[0], shape[1]};
  const Shape shared = {shape[1]};
  return {{.name = "x", .shape = shape, .values = options.values, .lay = options.lay},
          {.name = "positions",
           .shape = options.positions_per_batch ? per_batch : shared,
           .values = options.positions,
           .lay = options.positions_lay,
           .fixed_dtype = {options.positions_dtype},
           .differentiable = false}};
}

// rope() with the frequencies of a model.
OpCase model_case(const std::string& name, const Shape& shape, const RopeOptions& model,
                  const Options& options = {}) {
  const Array inv_freq = expected_inv_freq(model);
  const double factor = expected_attention_factor(model);
  OpCase result;
  result.name = name;
  result.inputs = rope_inputs(shape, options);
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{rope(in[0], in[1], rope_frequencies(model, in[0].device()))};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reference::rope_ref(in[0], in[1], inv_freq, factor)};
  };
  result.gradient = options.gradient;
  add_tolerance(result, inv_freq.numel(), factor);
  return result;
}

// rope() with frequencies that are an operand like others.
OpCase operand_case(const std::string& name, const Shape& shape, std::int64_t P, double factor,
                    Lay inv_freq_lay, const Options& options = {}) {
  const double rounded_factor = round_to_f32(factor);
  OpCase result;
  result.name = name;
  result.inputs = rope_inputs(shape, options);
  result.inputs.push_back({.name = "inv_freq",
                           .shape = {P},
                           .values = uniform(0, 1),
                           .lay = inv_freq_lay,
                           .fixed_dtype = {DType::kF32},
                           .differentiable = false});
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{rope(in[0], in[1], {.inv_freq = in[2], .attention_factor = factor})};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reference::rope_ref(in[0], in[1], in[2], rounded_factor)};
  };
  result.gradient = options.gradient;
  add_tolerance(result, P, rounded_factor);
  return result;
}

// rope() of queries and keys at once.
OpCase pair_case(const std::string& name, const Shape& shape, std::int64_t kv_heads,
                 const RopeOptions& model, const Options& options = {}) {
  const Array inv_freq = expected_inv_freq(model);
  OpCase result;
  result.name = name;
  result.inputs = rope_inputs(shape, options);
  result.inputs.push_back({.name = "k",
                           .shape = {shape[0], shape[1], kv_heads, shape[3]},
                           .values = options.values,
                           .lay = options.lay});
  result.run = [=](std::span<const Tensor> in) {
    const RotatedPair rotated = rope(in[0], in[2], in[1], rope_frequencies(model, in[0].device()));
    return std::vector{rotated.q, rotated.k};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reference::rope_ref(in[0], in[1], inv_freq, 1),
                       reference::rope_ref(in[2], in[1], inv_freq, 1)};
  };
  result.tolerance.magnitude = [P = inv_freq.numel()](std::span<const Array> in) {
    return std::vector{reference::rope_magnitude(in[0], P, 1),
                       reference::rope_magnitude(in[2], P, 1)};
  };
  return result;
}

// rope_frequencies() alone. Computed in double and rounded once: the tolerance is one rounding.
OpCase frequencies_case(const std::string& name, const RopeOptions& model) {
  OpCase result;
  result.name = "frequencies_" + name;
  result.inputs = {{.name = "x", .shape = {1}, .differentiable = false}};  // says which device
  result.run = [=](std::span<const Tensor> in) {
    const RopeFrequencies made = rope_frequencies(model, in[0].device());
    return std::vector{made.inv_freq,
                       Tensor::full({}, made.attention_factor, DType::kF32, in[0].device())};
  };
  result.reference = [=](std::span<const Array>) {
    return std::vector{expected_inv_freq(model), Array({}, {expected_attention_factor(model)})};
  };
  result.tolerance.condition = 0;
  result.gradient = false;
  result.only_dtypes = {DType::kF32};
  return result;
}

struct Model {
  std::string name;
  RopeOptions options;
};

std::vector<Model> plain_models() {
  constexpr auto kLlama3 = RopeScaling::kLlama3;
  return {
      {"default", {.rotary_dim = 64}},
      {"theta_1e6", {.rotary_dim = 128, .rope_theta = 1e6}},
      {"linear", {.rotary_dim = 32, .scaling = RopeScaling::kLinear, .factor = 2.5}},
      {"llama3_8", {.rotary_dim = 128, .rope_theta = 500000, .scaling = kLlama3, .factor = 8}},
      {"llama3_32", {.rotary_dim = 64, .rope_theta = 500000, .scaling = kLlama3, .factor = 32}},
      {"llama3_narrow",
       {.rotary_dim = 64,
        .rope_theta = 10000,
        .scaling = kLlama3,
        .factor = 4,
        .low_freq_factor = 2,
        .high_freq_factor = 2.5,
        .original_max_position_embeddings = 2048}},
      {"smallest", {.rotary_dim = 2}},
  };
}

std::vector<Model> yarn_models() {
  constexpr auto kYarn = RopeScaling::kYarn;
  return {
      {"yarn",
       {.rotary_dim = 128,
        .rope_theta = 1e6,
        .scaling = kYarn,
        .factor = 4,
        .original_max_position_embeddings = 32768}},
      {"yarn_not_truncated",
       {.rotary_dim = 64,
        .rope_theta = 150000,
        .scaling = kYarn,
        .factor = 32,
        .original_max_position_embeddings = 4096,
        .truncate = false}},
      {"yarn_attention_factor",
       {.rotary_dim = 64,
        .scaling = kYarn,
        .factor = 40,
        .original_max_position_embeddings = 4096,
        .attention_factor = 0.75}},
      {"yarn_betas",
       {.rotary_dim = 48,
        .scaling = kYarn,
        .factor = 16,
        .original_max_position_embeddings = 4096,
        .beta_fast = 8,
        .beta_slow = 2}},
      {"yarn_small_factor",
       {.rotary_dim = 16,
        .scaling = kYarn,
        .factor = 0.5,
        .original_max_position_embeddings = 512}},
      {"yarn_border_before_0",
       {.rotary_dim = 16, .scaling = kYarn, .factor = 8, .original_max_position_embeddings = 100}},
      {"yarn_border_behind_end",
       {.rotary_dim = 8,
        .rope_theta = 3,
        .scaling = kYarn,
        .factor = 8,
        .original_max_position_embeddings = 4096,
        .beta_fast = 512}},
      {"yarn_no_ramp",
       {.rotary_dim = 32,
        .scaling = kYarn,
        .factor = 8,
        .original_max_position_embeddings = 4096,
        .beta_fast = 4,
        .beta_slow = 4,
        .truncate = false}},
  };
}

void add_shapes(std::vector<OpCase>& list) {
  // Half of rotary_dim goes by vectors of 4, 8 and 16.
  for (const std::int64_t dim : {2, 4, 6, 8, 14, 16, 18, 30, 32, 34, 62, 66, 80, 128}) {
    list.push_back(model_case(fmt::format("rotary_{}", dim), {1, 3, 2, dim}, {.rotary_dim = dim}));
  }
  // Elements behind rotary_dim are copied.
  for (const auto& [dim, Dh] : {std::pair{2, 3}, {8, 20}, {16, 17}, {20, 80}, {32, 64}}) {
    list.push_back(
        model_case(fmt::format("rotary_{}_of_{}", dim, Dh), {2, 3, 1, Dh}, {.rotary_dim = dim}));
  }
  list.push_back(model_case("no_batch", {0, 3, 2, 8}, {.rotary_dim = 8}));
  list.push_back(
      model_case("no_tokens", {2, 0, 2, 8}, {.rotary_dim = 8}, {.positions_per_batch = true}));
  list.push_back(model_case("no_heads", {2, 3, 0, 8}, {.rotary_dim = 8}));
  list.push_back(
      model_case("one_token", {1, 1, 1, 64}, {.rotary_dim = 64}, {.positions = constant(777)}));
  list.push_back(
      model_case("many_tokens", {2, 67, 3, 10}, {.rotary_dim = 10}, {.positions_per_batch = true}));
}

void add_models(std::vector<OpCase>& list, const std::vector<Model>& models) {
  for (const Model& model : models) {
    const std::int64_t dim = model.options.rotary_dim;
    list.push_back(frequencies_case(model.name, model.options));
    list.push_back(model_case("model_" + model.name, {2, 4, 2, dim}, model.options,
                              {.positions = integers(0, 131072)}));
  }
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_shapes(list);
  const RopeOptions plain = {.rotary_dim = 12};
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    const int number = static_cast<int>(lay);
    list.push_back(model_case(fmt::format("lay_{}", number), {2, 5, 3, 13}, plain, {.lay = lay}));
    list.push_back(model_case(fmt::format("positions_lay_{}", number), {3, 5, 2, 12}, plain,
                              {.positions_per_batch = true, .positions_lay = lay}));
    if (lay == Lay::kTransposed || lay == Lay::kRepeated) continue;  // frequencies have one axis
    list.push_back(operand_case(fmt::format("inv_freq_lay_{}", number), {2, 3, 2, 14}, 7, 1, lay));
  }
  list.push_back(model_case("positions_i32", {2, 9, 2, 12}, plain,
                            {.positions_per_batch = true, .positions_dtype = DType::kI32}));
  list.push_back(
      model_case("positions_i32_shared", {2, 9, 2, 12}, plain, {.positions_dtype = DType::kI32}));
  list.push_back(model_case("positions_negative", {1, 4, 2, 12}, plain,
                            {.positions = listed({-1, -3, 0, -1000})}));
  const Values far = listed({0, 1, 65535, 131071, 131072, 524287, 999983, 1000000});
  list.push_back(
      model_case("positions_1e6", {1, 8, 2, 64}, {.rotary_dim = 64}, {.positions = far}));
  list.push_back(operand_case("operand_1e6", {1, 8, 2, 34}, 17, 1, Lay::kDense,
                              {.positions = far, .positions_dtype = DType::kI32}));
  list.push_back(operand_case("attention_factor", {2, 3, 2, 11}, 5, 1.3, Lay::kDense));
  list.push_back(model_case("large", {1, 5, 2, 16}, {.rotary_dim = 16}, {.values = normal(1000)}));
  list.push_back(
      pair_case("pair", {2, 5, 4, 16}, 2, {.rotary_dim = 16}, {.positions_per_batch = true}));
  list.push_back(pair_case("pair_odd", {2, 3, 3, 13}, 1, plain));
  list.push_back(pair_case("pair_strided", {2, 3, 2, 12}, 5, plain, {.lay = Lay::kStrided}));
  list.push_back(pair_case("pair_no_keys", {1, 3, 2, 12}, 0, plain));
  list.push_back(pair_case("pair_no_queries", {1, 3, 0, 12}, 2, plain));
  list.push_back(pair_case("pair_many_tokens", {2, 67, 7, 64}, 1, {.rotary_dim = 64}));
  for (const auto& models : {plain_models(), yarn_models()}) add_models(list, models);
  for (const auto& [B, T, H, Dh] :
       {std::array{1, 512, 16, 64}, {4, 256, 32, 128}, {1, 1, 32, 128}}) {
    OpCase timed =
        model_case(fmt::format("{}x{}x{}x{}", B, T, H, Dh), {B, T, H, Dh}, {.rotary_dim = Dh});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * B * T * H * Dh;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> operand_errors() {
  constexpr auto kI64 = DType::kI64;
  constexpr auto kF32 = DType::kF32;
  std::vector<ErrorCase> list;
  const auto zeros = [](const Shape& shape, DType dtype, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  const auto refused = [&](const std::string& name, ErrorKind kind, std::vector<std::string> text,
                           const Tensor& x, const Tensor& positions, const Tensor& inv_freq) {
    list.push_back({name, kind, std::move(text), [=] { rope(x, positions, {inv_freq}); }});
  };
  const Tensor x = zeros({2, 3, 4, 8}, DType::kBF16);
  const Tensor at = zeros({2, 3}, kI64);
  const Tensor with = zeros({4}, kF32);
  const Tensor with_null = zeros({4}, kF32, kNullDevice);
  const std::string x_text = "x [2,3,4,8] bf16@cpu";
  refused("x_rank", ErrorKind::kShape, {"rope: ", "x [2,3,8] f32@cpu"}, zeros({2, 3, 8}, kF32), at,
          with);
  refused("head_too_small", ErrorKind::kShape, {x_text, "inv_freq [5] f32@cpu"}, x, at,
          zeros({5}, kF32));
  refused("positions_size", ErrorKind::kShape, {x_text, "positions [4] i64@cpu"}, x,
          zeros({4}, kI64), with);
  refused("positions_batch", ErrorKind::kShape, {x_text, "positions [1,3] i64@cpu"}, x,
          zeros({1, 3}, kI64), with);
  refused("positions_rank", ErrorKind::kShape, {"positions [2,3,1] i64@cpu"}, x,
          zeros({2, 3, 1}, kI64), with);
  refused("inv_freq_rank", ErrorKind::kShape, {"inv_freq [2,2] f32@cpu"}, x, at,
          zeros({2, 2}, kF32));
  refused("x_dtype", ErrorKind::kDtype, {"x [2,3,4,8] i32@cpu"}, zeros(x.shape(), DType::kI32), at,
          with);
  refused("positions_dtype", ErrorKind::kDtype, {"positions [2,3] f32@cpu"}, x, zeros({2, 3}, kF32),
          with);
  refused("inv_freq_dtype", ErrorKind::kDtype, {"inv_freq [4] bf16@cpu"}, x, at,
          zeros({4}, DType::kBF16));
  refused("positions_device", ErrorKind::kDevice,
          {"positions [2,3] i64@cpu", "x [2,3,4,8] bf16@null"},
          zeros(x.shape(), DType::kBF16, kNullDevice), at, with_null);
  refused("inv_freq_device", ErrorKind::kDevice, {x_text, "inv_freq [4] f32@null"}, x, at,
          with_null);
  const auto refused_pair = [&](const std::string& name, ErrorKind kind,
                                std::vector<std::string> text, const Tensor& k) {
    list.push_back({name, kind, std::move(text), [=] { rope(x, k, at, {with}); }});
  };
  refused_pair("k_rank", ErrorKind::kShape, {x_text, "k [2,3,8] bf16@cpu"},
               zeros({2, 3, 8}, DType::kBF16));
  refused_pair("k_shape", ErrorKind::kShape, {x_text, "k [2,3,4,6] bf16@cpu"},
               zeros({2, 3, 4, 6}, DType::kBF16));
  refused_pair("k_dtype", ErrorKind::kDtype, {x_text, "k [2,3,4,8] f32@cpu"},
               zeros(x.shape(), kF32));
  refused("x_undefined", ErrorKind::kArgument, {"rope: ", "x"}, Tensor(), at, with);
  refused("positions_undefined", ErrorKind::kArgument, {"positions"}, x, Tensor(), with);
  refused("inv_freq_undefined", ErrorKind::kArgument, {"inv_freq"}, x, at, Tensor());
  return list;
}

std::vector<ErrorCase> errors() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr auto kYarn = RopeScaling::kYarn;
  constexpr auto kLlama3 = RopeScaling::kLlama3;
  std::vector<ErrorCase> list = operand_errors();
  const auto refused = [&](const std::string& name, const std::string& text,
                           const RopeOptions& options) {
    list.push_back({name, ErrorKind::kArgument, {"rope_frequencies: ", text}, [=] {
                      rope_frequencies(options);
                    }});
  };
  refused("rotary_dim_0", "rotary_dim", {.rotary_dim = 0});
  refused("rotary_dim_odd", "rotary_dim", {.rotary_dim = 7});
  refused("rotary_dim_negative", "rotary_dim", {.rotary_dim = -2});
  refused("theta_0", "theta", {.rotary_dim = 8, .rope_theta = 0});
  refused("theta_nan", "theta", {.rotary_dim = 8, .rope_theta = kNan});
  refused("linear_factor", "factor",
          {.rotary_dim = 8, .scaling = RopeScaling::kLinear, .factor = 0});
  refused("yarn_factor", "factor", {.rotary_dim = 8, .scaling = kYarn, .factor = kInfinity});
  refused("yarn_original", "original_max_position_embeddings",
          {.rotary_dim = 8, .scaling = kYarn, .original_max_position_embeddings = -1});
  refused("yarn_beta_fast", "beta_fast", {.rotary_dim = 8, .scaling = kYarn, .beta_fast = 0});
  refused("yarn_beta_slow", "beta_slow", {.rotary_dim = 8, .scaling = kYarn, .beta_slow = kNan});
  refused("yarn_attention_factor", "attention_factor",
          {.rotary_dim = 8, .scaling = kYarn, .attention_factor = -1});
  refused("llama3_original", "original_max_position_embeddings",
          {.rotary_dim = 8, .scaling = kLlama3, .original_max_position_embeddings = 0});
  refused("llama3_low", "low_freq_factor",
          {.rotary_dim = 8, .scaling = kLlama3, .low_freq_factor = -1});
  refused("llama3_order", "high_freq_factor",
          {.rotary_dim = 8, .scaling = kLlama3, .low_freq_factor = 4, .high_freq_factor = 4});
  return list;
}

}  // namespace

OpSpec spec_rope() {
  return {.op = "rope", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing

#pragma once

// What the cases of cross_entropy and linear_cross_entropy share: targets, options, and the errors
// of both.

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "harness/op_spec.hpp"
#include "reference/cross_entropy_ref.hpp"
#include "wick/ops/cross_entropy.hpp"

namespace wick::testing {

/// Options of either op. Token weights are an input of the case: its last one.
struct LossCaseOptions {
  CrossEntropyOptions loss = {};
  bool weighted = false;
  Values weights = uniform(0.1, 2);
  Values targets = {};  ///< without it all of [0, V)
  DType targets_dtype = DType::kI64;
  Lay targets_lay = Lay::kDense;
  Lay weights_lay = Lay::kDense;
};

/// Classes of [0, V), but for every `nth` row from the second on, which has `ignored`.
inline Values some_ignored(std::int64_t V, double ignored, std::int64_t nth = 3) {
  return [=](Rng& rng, std::int64_t i, std::int64_t) {
    const auto target = std::uniform_int_distribution<std::int64_t>(0, V - 1)(rng);
    return i % nth == 1 ? ignored : static_cast<double>(target);
  };
}

inline void add_loss_inputs(std::vector<Input>& inputs, std::int64_t N, std::int64_t V,
                            const LossCaseOptions& options) {
  inputs.push_back({.name = "targets",
                    .shape = {N},
                    .values = options.targets ? options.targets : integers(0, V),
                    .lay = options.targets_lay,
                    .fixed_dtype = {options.targets_dtype},
                    .differentiable = false});
  if (!options.weighted) return;
  inputs.push_back({.name = "token_weights",
                    .shape = {N},
                    .values = options.weights,
                    .lay = options.weights_lay,
                    .fixed_dtype = {DType::kF32},
                    .differentiable = false});
}

inline CrossEntropyOptions loss_options(std::span<const Tensor> in,
                                        const LossCaseOptions& options) {
  CrossEntropyOptions result = options.loss;
  if (options.weighted) result.token_weights = in.back();
  return result;
}

inline reference::CrossEntropySettings loss_settings(std::span<const Array> in,
                                                     const LossCaseOptions& options) {
  reference::CrossEntropySettings settings;
  settings.ignore_index = static_cast<double>(options.loss.ignore_index);
  settings.label_smoothing = static_cast<double>(static_cast<float>(options.loss.label_smoothing));
  settings.mean = options.loss.reduction == LossReduction::kMean;
  if (options.weighted) settings.weights = in.back().data;
  return settings;
}

/// The options that both ops are tried with.
inline std::vector<std::pair<std::string, LossCaseOptions>> loss_variants(std::int64_t V) {
  constexpr auto kSum = LossReduction::kSum;
  const auto size = static_cast<double>(V);
  const std::vector<double> zero_weights = {0, 1.5, 0, 0.25, 2};
  return {
      {"sum", {.loss = {.reduction = kSum}}},
      {"smoothing", {.loss = {.label_smoothing = 0.1}}},
      {"smoothing_sum", {.loss = {.label_smoothing = 0.3, .reduction = kSum}}},
      {"ignored", {.targets = some_ignored(V, -100)}},
      {"ignored_sum", {.loss = {.reduction = kSum}, .targets = some_ignored(V, -100)}},
      {"ignore_index_is_a_class", {.loss = {.ignore_index = 2}, .targets = some_ignored(V, 2)}},
      {"ignore_index_beyond", {.loss = {.ignore_index = V}, .targets = some_ignored(V, size)}},
      {"ignore_index_i32",
       {.loss = {.ignore_index = -1},
        .targets = some_ignored(V, -1),
        .targets_dtype = DType::kI32}},
      {"all_ignored", {.targets = constant(-100)}},
      {"all_ignored_sum", {.loss = {.reduction = kSum}, .targets = constant(-100)}},
      {"weights", {.weighted = true}},
      {"weights_sum", {.loss = {.reduction = kSum}, .weighted = true}},
      {"weights_of_0", {.weighted = true, .weights = listed(zero_weights)}},
      {"weights_all_0", {.weighted = true, .weights = constant(0)}},
      {"weights_smoothing_ignored",
       {.loss = {.label_smoothing = 0.2}, .weighted = true, .targets = some_ignored(V, -100, 2)}},
      {"targets_strided", {.targets_lay = Lay::kStrided}},
      {"targets_repeated", {.targets_lay = Lay::kRepeated}},
      {"targets_misaligned", {.targets_lay = Lay::kMisaligned}},
      {"weights_strided", {.weighted = true, .weights_lay = Lay::kStrided}},
      {"weights_misaligned", {.weighted = true, .weights_lay = Lay::kMisaligned}},
  };
}

/// A call of either op with 3 rows of 5 classes, to be refused for its targets or options.
using LossCall = std::function<void(const Tensor& targets, const CrossEntropyOptions& options)>;

inline std::vector<ErrorCase> target_errors(const std::string& op, const LossCall& call) {
  std::vector<ErrorCase> list;
  const auto refused = [&](const std::string& name, ErrorKind kind, std::vector<std::string> text,
                           const Tensor& targets, const CrossEntropyOptions& options = {}) {
    list.push_back({name, kind, std::move(text), [=] { call(targets, options); }});
  };
  const auto zeros = [](const Shape& shape, DType dtype = DType::kI64, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  const auto classes = [](std::vector<std::int64_t> values) {
    return Tensor::from_values(values, {3});
  };
  refused("targets_size", ErrorKind::kShape, {op + ": ", "targets [4] i64@cpu"}, zeros({4}));
  refused("targets_rank", ErrorKind::kShape, {"targets [3,1] i64@cpu"}, zeros({3, 1}));
  refused("targets_dtype", ErrorKind::kDtype, {"targets [3] f32@cpu"}, zeros({3}, DType::kF32));
  refused("targets_u8", ErrorKind::kDtype, {"targets [3] u8@cpu"}, zeros({3}, DType::kU8));
  refused("targets_device", ErrorKind::kDevice, {"targets [3] i64@null"},
          zeros({3}, DType::kI64, kNullDevice));
  refused("targets_undefined", ErrorKind::kArgument, {"targets"}, Tensor());
  refused("target_too_large", ErrorKind::kArgument, {"row 2"}, classes({0, 4, 5}));
  refused("target_negative", ErrorKind::kArgument, {"row 1"}, classes({0, -1, 4}));
  refused("target_not_ignored", ErrorKind::kArgument, {"row 0"}, classes({-100, 3, 4}),
          {.ignore_index = -1});
  return list;
}

inline std::vector<ErrorCase> loss_option_errors(const LossCall& call) {
  std::vector<ErrorCase> list;
  const auto refused = [&](const std::string& name, ErrorKind kind, const std::string& text,
                           const CrossEntropyOptions& options) {
    list.push_back({name, kind, {text}, [=] { call(Tensor::zeros({3}, DType::kI64), options); }});
  };
  const auto weights = [](const Shape& shape, DType dtype = DType::kF32,
                          Device device = kCpuDevice) {
    CrossEntropyOptions options;
    options.token_weights = Tensor::zeros(shape, dtype, device);
    return options;
  };
  refused("weights_size", ErrorKind::kShape, "token_weights [2] f32@cpu", weights({2}));
  refused("weights_rank", ErrorKind::kShape, "token_weights [3,1] f32@cpu", weights({3, 1}));
  refused("weights_dtype", ErrorKind::kDtype, "token_weights [3] bf16@cpu",
          weights({3}, DType::kBF16));
  refused("weights_device", ErrorKind::kDevice, "token_weights [3] f32@null",
          weights({3}, DType::kF32, kNullDevice));
  for (const auto& [name, epsilon] : {std::pair{"smoothing_negative", -0.1},
                                      {"smoothing_1", 1.0},
                                      {"smoothing_nan", std::nan("")}}) {
    refused(name, ErrorKind::kArgument, "label_smoothing", {.label_smoothing = epsilon});
  }
  return list;
}

/// Both.
inline std::vector<ErrorCase> loss_errors(const std::string& op, const LossCall& call) {
  std::vector<ErrorCase> list = target_errors(op, call);
  for (ErrorCase& error : loss_option_errors(call)) list.push_back(std::move(error));
  return list;
}

}  // namespace wick::testing

#include "train/run_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "train/digest.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::detail {

namespace {

// Enough of each tensor to tell one model from another; all of a large one would take long to read.
constexpr std::int64_t kSampledElements = 256;

// Settings whose values say nothing to people.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kDigests = {{
    {"training_data", "the training data differs"},
    {"evaluation_data", "the evaluation data differs"},
    {"base_model", "the base model differs"},
}};

std::uint64_t digest_of(std::string_view text) { return digest(std::as_bytes(std::span(text))); }

std::uint64_t value_digest(const Tensor& tensor) {
  const NoGradGuard no_gradient;
  const Tensor flat = reshape(tensor.detach(), {tensor.numel()});
  const Tensor first = slice(flat, 0, 0, std::min(kSampledElements, tensor.numel()));
  const std::vector<float> values = cast(first, DType::kF32).to_vector<float>();
  return digest(std::as_bytes(std::span(values)));
}

// A frozen model goes into the result with its values; one that is trained has them in the checkpoint.
std::string model_digest(const CausalLm& model, bool is_frozen) {
  std::string text = to_json(model.config());
  for (const auto& [name, tensor] : model.parameters()) {
    text += fmt::format("\n{} {}", name, to_string(tensor.shape()));
    if (is_frozen) text += fmt::format(" {} {}", to_string(tensor.dtype()), value_digest(tensor));
  }
  return fmt::format("{:016x}", digest_of(text));
}

// Where the base lies says nothing of the result.
Json adapter_settings(const LoraAdapter& adapter) {
  Json json = parse_json(to_json(adapter.config()), "adapter_config.json");
  json.erase("base_model_name_or_path");
  json.erase("inference_mode");
  return json;
}

std::string difference(const std::string& key, const Json& before, const Json& now) {
  for (const auto& [name, text] : kDigests) {
    if (key == name) return std::string(text);
  }
  return fmt::format("{} was {} and is {}", key, before.dump(), now.dump());
}

}  // namespace

Json run_settings(const TrainerOptions& options, std::int64_t total_steps, const Dataset& train,
                  const Dataset& eval, const CausalLm& model, const LoraAdapter* adapter) {
  Json json{
      {"fine_tune_type", options.fine_tune_type == FineTuneType::kFull ? "full" : "lora"},
      {"total_steps", total_steps},
      {"gradient_accumulation_steps", options.gradient_accumulation_steps},
      {"batch_size", options.batches.batch_size},
      {"max_seq_length", options.batches.max_seq_length},
      {"packing", options.batches.packing},
      {"shuffle", options.batches.shuffle},
      {"adam_beta1", options.optimizer.adam_beta1},
      {"adam_beta2", options.optimizer.adam_beta2},
      {"adam_epsilon", options.optimizer.adam_epsilon},
      {"weight_decay", options.optimizer.weight_decay},
      {"max_grad_norm", options.optimizer.max_grad_norm},
      {"lr_scheduler_type", to_string(options.lr_scheduler_type)},
      {"learning_rate", options.learning_rate},
      {"warmup_steps", options.warmup_steps},
      {"warmup_ratio", options.warmup_ratio},
      {"min_lr_ratio", options.min_lr_ratio},
      {"eval_steps", options.eval_steps},
      {"load_best_model_at_end", options.load_best_model_at_end},
      {"early_stopping_patience", options.early_stopping_patience},
      {"seed", options.seed},
      {"compute_dtype", to_string(model.compute_dtype())},
      {"training_data", fmt::format("{:016x}", train.fingerprint())},
      {"evaluation_data", fmt::format("{:016x}", eval.fingerprint())},
      {"base_model", model_digest(model, adapter != nullptr)},
  };
  if (adapter != nullptr) json["adapter"] = adapter_settings(*adapter);
  return json;
}

std::string changed_settings(const Json& stored, const Json& wanted) {
  std::string text;
  for (const auto& [key, value] : wanted.items()) {
    const auto found = stored.find(key);
    const Json before = found == stored.end() ? Json() : *found;
    if (before == value) continue;
    const bool is_nested = before.is_object() && value.is_object();
    const std::string part =
        is_nested ? changed_settings(before, value) : difference(key, before, value);
    if (!part.empty()) text += (text.empty() ? "" : ", ") + part;
  }
  return text;
}

}  // namespace wick::detail

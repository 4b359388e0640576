// "train": one LoRA step of a Llama, "decode": one token after a prompt, by Wick. torch_model.py and llama.cpp
// have the same model.

#include <fmt/format.h>

#include <numeric>
#include <span>
#include <string_view>

#include "generate/decode_batch.hpp"
#include "model_case.hpp"
#include "wick/wick.hpp"

namespace wick::bench {

namespace {

constexpr double kLearningRate = 1e-3;
constexpr int kCheckedSteps = 4;

void fill(const Tensor& to, std::string_view name, float scale) {
  copy_(to, Tensor::from_values(input(to.numel(), seed_of(name), scale, "f32"), to.shape()));
}

struct Llama {
  std::shared_ptr<CausalLm> model;
  std::shared_ptr<LoraAdapter> adapter;
};

Llama make_llama(const Case& which, float scale_of_b) {
  const std::string json = fmt::format(
      R"({{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": {},
          "intermediate_size": {}, "num_hidden_layers": {}, "num_attention_heads": {}, "num_key_value_heads": {},
          "vocab_size": {}, "max_position_embeddings": 16384, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "tie_word_embeddings": false}})",
      which.size(kHidden), which.size(kIntermediate), which.size(kLayers), which.size(kHeads),
      which.size(kKeyHeads), which.size(kVocabulary));
  const DType dtype = which.dtype == "bf16" ? DType::kBF16 : DType::kF32;
  Llama llama{.model = CausalLm::create(parse_model_config(json), 0, kCpuDevice, dtype, dtype),
              .adapter = {}};
  for (const auto& [name, tensor] : llama.model->parameters()) {
    // Gains stay one: the model may hold them in another dtype besides.
    if (name.find("norm") == std::string::npos) fill(tensor, name, kModelScale);
  }
  const std::int64_t rank = which.size(kRank);
  const LoraConfig config{.r = rank,
                          .lora_alpha = static_cast<double>(kLoraScale) * static_cast<double>(rank),
                          .target_modules = {.all_linear = true}};
  llama.adapter = llama.model->create_adapter("bench", config, 0);
  for (const auto& [path, layer] : llama.adapter->layers()) {
    fill(layer->a, path + ".lora_A", kModelScale);
    fill(layer->b, path + ".lora_B", scale_of_b);
  }
  llama.model->set_active_adapters({{"bench"}});
  return llama;
}

MicroBatch batch_of(const Case& which) {
  const std::int64_t length = which.size(kLength);
  MicroBatch batch{.batch_size = which.size(kBatch), .length = length, .ids = tokens(which)};
  batch.num_tokens = batch.batch_size * length;
  batch.num_targets = batch.batch_size * (length - 1);
  for (std::int64_t i = 0; i < batch.num_tokens; ++i) {
    const bool is_last = (i + 1) % length == 0;
    batch.targets.push_back(is_last ? -100 : batch.ids[static_cast<std::size_t>(i + 1)]);
    batch.positions.push_back(static_cast<std::int32_t>(i % length));
    batch.segments.push_back(0);
  }
  return batch;
}

// The result is the loss of each of the first steps.
Work training(const Case& which) {
  const Llama llama = make_llama(which, 0);
  llama.adapter->set_trainable(true);
  const auto batch = std::make_shared<MicroBatch>(batch_of(which));
  const auto optimizer = std::make_shared<Optimizer>(*llama.model, llama.adapter->tensors(),
                                                     OptimizerOptions{.max_grad_norm = 0});
  const auto step = [llama, batch, optimizer] {
    return optimizer->step(std::span(batch.get(), 1), kLearningRate, 0)->loss;
  };
  return {[step] { static_cast<void>(step()); },
          [step] {
            Matrix losses{kCheckedSteps, 1, {}};
            for (int i = 0; i < kCheckedSteps; ++i)
              losses.values.push_back(static_cast<float>(step()));
            return std::vector<Matrix>{losses};
          }};
}

// As wick generate decodes. The result is the logits of the token after the prompt.
Work decoding(const Case& which) {
  const Llama llama = make_llama(which, kModelScale);
  const std::int64_t batch = which.size(kBatch);
  const std::int64_t length = which.size(kLength);
  const auto cache = std::make_shared<KvCache>(llama.model->make_cache(batch, length + 1));
  const auto decoding = std::make_shared<detail::DecodeBatch>(*llama.model, *cache);
  const std::vector<std::int32_t> ids = tokens(which);
  const auto row = [&](std::int64_t i) {
    return std::span(ids).subspan(static_cast<std::size_t>(i * length),
                                  static_cast<std::size_t>(length));
  };
  std::vector<std::span<const std::int32_t>> prompts;
  std::vector<std::int32_t> next;
  for (std::int64_t i = 0; i < batch; ++i) {
    prompts.push_back(row(i));
    next.push_back(row(i).front());
  }
  {
    const NoGradGuard no_gradient;
    decoding->prefill(prompts, length);
  }
  const auto token = [llama, cache, decoding, next, length] {
    const NoGradGuard no_gradient;
    cache->truncate(length);
    return decoding->step(next);
  };
  return {[token] { token(); },
          [token, batch, which] {
            detail::NextLogits logits = token();
            Matrix result{batch, which.size(kVocabulary), {}};
            for (std::int64_t i = 0; i < batch; ++i) {
              const std::span<const float> of_row = logits.row(static_cast<std::size_t>(i));
              result.values.insert(result.values.end(), of_row.begin(), of_row.end());
            }
            return std::vector<Matrix>{result};
          }};
}

}  // namespace

Work prepare_model(const Case& which) {
  return which.op == "train" ? training(which) : decoding(which);
}

}  // namespace wick::bench

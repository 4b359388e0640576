#include "wick/models/text_encoder.hpp"

#include <cmath>
#include <numeric>
#include <utility>

#include "base/json.hpp"
#include "models/builder.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/activation.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/attention.hpp"
#include "wick/ops/embedding.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/norm.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why) {
  throw Error(ErrorKind::kUnsupported, "load_model", file.string() + ": " + why);
}

// Several modes at once would make one long vector of them all.
void check_pooling(const std::filesystem::path& path) {
  const detail::Json json = detail::read_json_file(path);
  const detail::JsonFields pooling(json, path.string());
  if (!pooling.boolean("pooling_mode_mean_tokens", false)) {
    refuse(path, "pooling must be the mean (pooling_mode_mean_tokens)");
  }
  for (const auto& [key, value] : json.items()) {
    const bool other = key.starts_with("pooling_mode_") && key != "pooling_mode_mean_tokens";
    if (other && value == true) refuse(path, "pooling must be the mean alone, not " + key + " too");
  }
}

// Reads what a sentence-transformers folder says of pooling; true when embeddings are scaled to length 1, which a
// folder that says nothing gets too: embeddings are compared by their angle.
bool read_modules(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "modules.json";
  if (!std::filesystem::exists(path)) return true;
  bool normalizes = false;
  for (const detail::Json& module : detail::read_json_file(path)) {
    const detail::JsonFields fields(module, path.string());
    const std::string type = fields.string("type");
    const std::string place = fields.string("path", "");
    if (type.ends_with(".Pooling")) {
      check_pooling(folder / place / "config.json");
    } else if (type.ends_with(".Normalize")) {
      normalizes = true;
    } else if (!type.ends_with(".Transformer")) {
      refuse(path, "module \"" + type + "\" is not known");
    }
  }
  return normalizes;
}

// A mask [B,T] as weights [B,1,T] that average over what it keeps.
Tensor averaging_weights(const Tensor& mask, std::int64_t batch, std::int64_t length,
                         Device device) {
  std::vector<std::uint8_t> kept(static_cast<std::size_t>(batch * length), 1);
  if (mask.defined()) kept = mask.to_vector<std::uint8_t>();
  std::vector<float> weights(kept.size());
  const auto row = static_cast<std::size_t>(length);
  for (std::size_t begin = 0; begin < kept.size(); begin += row) {
    std::size_t count = 0;
    for (std::size_t i = begin; i < begin + row; ++i) count += kept[i];
    for (std::size_t i = begin; i < begin + row; ++i) {
      weights[i] = kept[i] == 0 ? 0 : 1 / static_cast<float>(count);
    }
  }
  return Tensor::from_values(weights, {batch, 1, length}, device);
}

Tensor activate(const Tensor& x, const std::string& name) {
  return gelu(x, name == "gelu" ? GeluForm::kErf : GeluForm::kTanh);
}

}  // namespace

struct TextEncoder::Layer {
  Linear* query;
  Linear* key;
  Linear* value;
  Linear* attention_output;
  Tensor attention_norm_weight;
  Tensor attention_norm_bias;
  Linear* intermediate;
  Linear* output;
  Tensor output_norm_weight;
  Tensor output_norm_bias;
};

TextEncoder::TextEncoder(Private, ModelConfig config, Device device)
    : Model(std::move(config), device) {}

TextEncoder::~TextEncoder() = default;

void TextEncoder::build(ParameterSource& source) {
  ParameterList list(source, parameters_);
  const std::int64_t d = config_.hidden_size;
  const auto linear = [&](const std::string& path, std::int64_t out, std::int64_t in) {
    const Tensor weight = list.weight(path + ".weight", {out, in});
    return &add_linear(path, weight, list.bias(path + ".bias", {out}));
  };
  const auto norm = [&](const std::string& path, Tensor& weight, Tensor& bias) {
    weight = list.norm(path + ".weight", d);
    bias = list.norm(path + ".bias", d, ParameterKind::kBias);
  };
  word_embeddings_ = list.weight("embeddings.word_embeddings.weight", {config_.vocab_size, d});
  position_embeddings_ =
      list.weight("embeddings.position_embeddings.weight", {config_.max_position_embeddings, d});
  token_type_embeddings_ =
      list.weight("embeddings.token_type_embeddings.weight", {config_.type_vocab_size, d});
  norm("embeddings.LayerNorm", embedding_norm_weight_, embedding_norm_bias_);
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string path = "encoder.layer." + std::to_string(i) + ".";
    Layer layer{};
    layer.query = linear(path + "attention.self.query", d, d);
    layer.key = linear(path + "attention.self.key", d, d);
    layer.value = linear(path + "attention.self.value", d, d);
    layer.attention_output = linear(path + "attention.output.dense", d, d);
    norm(path + "attention.output.LayerNorm", layer.attention_norm_weight,
         layer.attention_norm_bias);
    layer.intermediate = linear(path + "intermediate.dense", config_.intermediate_size, d);
    layer.output = linear(path + "output.dense", d, config_.intermediate_size);
    norm(path + "output.LayerNorm", layer.output_norm_weight, layer.output_norm_bias);
    layers_.push_back(std::move(layer));
  }
}

std::shared_ptr<TextEncoder> TextEncoder::load(const std::filesystem::path& folder,
                                               const LoadOptions& options) {
  ModelConfig config = load_model_config(folder);
  if (config.family != ModelFamily::kEncoder) {
    throw Error(ErrorKind::kUnsupported, "load_model",
                folder.string() + ": model_type \"" + config.model_type + "\" is not an encoder");
  }
  Weights weights = Weights::open(folder);
  const std::string prefix =
      weights.contains("bert.embeddings.word_embeddings.weight") ? "bert." : "";
  std::vector<std::string> ignored{"position_ids", "pooler.dense.weight", "pooler.dense.bias"};
  for (const std::string& name : weights.names()) {
    if (name.starts_with("cls.")) ignored.push_back(name);
  }
  StoredParameters source(std::move(weights), options, prefix, std::move(ignored));
  auto model = std::make_shared<TextEncoder>(Private(), std::move(config), options.device);
  model->folder_ = folder;
  model->normalizes_ = read_modules(folder);
  model->build(source);
  source.check_all_taken();
  model->choose_compute_dtype(options.compute_dtype);
  return model;
}

Tensor TextEncoder::run_layer(const Layer& layer, const Tensor& x, const Tensor& mask,
                              const PassContext& context) const {
  const NormOptions norm{.eps = config_.norm_eps};
  const Shape heads{x.dim(0), x.dim(1), config_.num_attention_heads, config_.head_dim};
  const auto project = [&](const Linear& linear) {
    return reshape(linear.forward(x, context), heads);
  };
  const Tensor mixed = attention(project(*layer.query), project(*layer.key), project(*layer.value),
                                 {.causal = false, .key_mask = mask});
  const Tensor attended = layer.attention_output->forward(reshape(mixed, x.shape()), context);
  const Tensor h =
      layer_norm(add(x, attended), layer.attention_norm_weight, layer.attention_norm_bias, norm);
  const Tensor inner = activate(layer.intermediate->forward(h, context), config_.hidden_act);
  return layer_norm(add(h, layer.output->forward(inner, context)), layer.output_norm_weight,
                    layer.output_norm_bias, norm);
}

Tensor TextEncoder::hidden(const Tensor& ids, const Tensor& mask,
                           const PassContext& context) const {
  if (ids.rank() != 2) {
    throw Error(ErrorKind::kShape, "hidden", "ids must be [B,T], got " + to_string(ids.shape()));
  }
  if (ids.dim(1) > config_.max_position_embeddings) {
    throw Error(ErrorKind::kArgument, "hidden",
                std::to_string(ids.dim(1)) + " tokens are more than max_position_embeddings, " +
                    std::to_string(config_.max_position_embeddings));
  }
  const std::int64_t length = ids.dim(1);
  const auto in_f32 = [](const Tensor& x) { return cast(x, DType::kF32); };
  const Tensor words = in_f32(embedding(word_embeddings_, ids));
  const Tensor positions = in_f32(slice(position_embeddings_, 0, 0, length));
  const Tensor type = in_f32(slice(token_type_embeddings_, 0, 0, 1));
  // Words and type first, then positions: the order of the reference, which rounds the same way.
  Tensor x = layer_norm(add(add(words, type), positions), embedding_norm_weight_,
                        embedding_norm_bias_, {.eps = config_.norm_eps});
  x = cast(x, compute_dtype_);
  for (const Layer& layer : layers_) x = run_layer(layer, x, mask, context);
  return x;
}

Tensor TextEncoder::embed(const Tensor& ids, const Tensor& mask, const PassContext& context) const {
  const Tensor states = hidden(ids, mask, context);
  const std::int64_t batch = ids.dim(0);
  const std::int64_t d = config_.hidden_size;
  const Tensor weights = averaging_weights(mask, batch, ids.dim(1), device_);
  Tensor pooled = reshape(matmul(weights, states), {batch, d});
  if (!normalizes_) return pooled;
  // x / ‖x‖ is the root-mean-square norm divided by √D; the reference bounds ‖x‖ by 1e-12.
  const auto root = std::sqrt(static_cast<double>(d));
  const Tensor gain = Tensor::full({d}, 1 / root, DType::kF32, device_);
  return rms_norm(pooled, gain, {.eps = 1e-24 / static_cast<double>(d)});
}

}  // namespace wick

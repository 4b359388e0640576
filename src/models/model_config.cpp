#include "wick/models/model_config.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/json.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using detail::Json;
using detail::JsonFields;

[[noreturn]] void unsupported(const JsonFields& fields, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, "load_model_config", fields.where() + ": " + what);
}

struct KnownType {
  std::string_view model_type;
  std::string_view architecture;
  ModelFamily family;
  double norm_eps;
  double rope_theta;
};

// The defaults that transformers' configuration classes give to absent keys.
constexpr std::array<KnownType, 5> kKnownTypes{{
    {"llama", "LlamaForCausalLM", ModelFamily::kDecoder, 1e-6, 1e4},
    {"qwen2", "Qwen2ForCausalLM", ModelFamily::kDecoder, 1e-6, 1e4},
    {"qwen3", "Qwen3ForCausalLM", ModelFamily::kDecoder, 1e-6, 1e4},
    {"mistral", "MistralForCausalLM", ModelFamily::kDecoder, 1e-6, 1e4},
    {"bert", "BertModel", ModelFamily::kEncoder, 1e-12, 0},
}};

const KnownType& known_type(const JsonFields& fields) {
  const std::string model_type = fields.string("model_type");
  for (const KnownType& known : kKnownTypes) {
    if (known.model_type == model_type) return known;
  }
  std::string names;
  for (const KnownType& known : kKnownTypes) {
    names += (names.empty() ? "" : ", ") + std::string(known.model_type);
  }
  unsupported(fields, "model_type \"" + model_type + "\" is not one of " + names);
}

void read_sizes(const JsonFields& fields, ModelConfig& config) {
  config.vocab_size = fields.positive("vocab_size");
  config.hidden_size = fields.positive("hidden_size");
  config.intermediate_size = fields.positive("intermediate_size");
  config.num_hidden_layers = fields.positive("num_hidden_layers");
  config.num_attention_heads = fields.positive("num_attention_heads");
  config.num_key_value_heads = fields.positive("num_key_value_heads", config.num_attention_heads);
  config.max_position_embeddings = fields.positive("max_position_embeddings", 2048);
  config.initializer_range = fields.number("initializer_range", 0.02);
  if (fields.find("head_dim") != nullptr) {
    config.head_dim = fields.positive("head_dim");
  } else if (config.hidden_size % config.num_attention_heads != 0) {
    fields.fail("hidden_size", std::to_string(config.hidden_size) +
                                   " must be a multiple of num_attention_heads, " +
                                   std::to_string(config.num_attention_heads) +
                                   ", when there is no head_dim");
  } else {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    fields.fail("num_attention_heads", std::to_string(config.num_attention_heads) +
                                           " must be a multiple of num_key_value_heads, " +
                                           std::to_string(config.num_key_value_heads));
  }
}

std::vector<std::int64_t> read_ids(const JsonFields& fields, std::string_view key) {
  const Json* value = fields.find(key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {fields.integer(key)};
  std::vector<std::int64_t> ids;
  for (const Json& id : *value) {
    if (!id.is_number_integer()) fields.fail(key, "must be an integer or a list of integers");
    ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

// Ids that are there replace the ones read before.
void read_token_ids(const JsonFields& fields, ModelConfig& config) {
  if (fields.find("bos_token_id") != nullptr) config.bos_token_id = fields.integer("bos_token_id");
  if (fields.find("pad_token_id") != nullptr) config.pad_token_id = fields.integer("pad_token_id");
  std::vector<std::int64_t> eos = read_ids(fields, "eos_token_id");
  if (!eos.empty()) config.eos_token_ids = std::move(eos);
}

double positive_number(const JsonFields& fields, std::string_view key, double otherwise) {
  const double value = fields.number(key, otherwise);
  if (!(value > 0)) fields.fail(key, "must be positive");
  return value;
}

// Keys of the configuration that stand for a rotary embedding, in v5's one object or v4's two places.
void read_rope_scaling(const JsonFields& fields, const JsonFields& top, ModelConfig& config) {
  RopeOptions& rope = config.rope;
  const std::string type = fields.string("rope_type", fields.string("type", "default"));
  const auto number = [&](std::string_view key, double otherwise) {
    return positive_number(fields, key, otherwise);
  };
  if (type == "default") return;
  if (type != "linear" && type != "llama3" && type != "yarn") {
    unsupported(top, "rope_type \"" + type + "\" is not one of default, linear, llama3, yarn");
  }
  fields.require("factor");
  rope.factor = number("factor", 1);
  const auto positions = static_cast<double>(config.max_position_embeddings);
  rope.original_max_position_embeddings =
      number("original_max_position_embeddings",
             positive_number(top, "original_max_position_embeddings", positions));
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
    fields.require("low_freq_factor");
    fields.require("high_freq_factor");
    fields.require("original_max_position_embeddings");
    rope.low_freq_factor = number("low_freq_factor", 1);
    rope.high_freq_factor = number("high_freq_factor", 4);
    if (!(rope.high_freq_factor > rope.low_freq_factor)) {
      fields.fail("high_freq_factor", "must be above low_freq_factor");
    }
  } else {
    rope.scaling = RopeScaling::kYarn;
    rope.beta_fast = number("beta_fast", 32);
    rope.beta_slow = number("beta_slow", 1);
    rope.truncate = fields.boolean("truncate", true);
    if (fields.find("attention_factor") != nullptr) {
      rope.attention_factor = number("attention_factor", 1);
    }
    for (const char* key : {"mscale", "mscale_all_dim"}) {
      if (fields.find(key) != nullptr) unsupported(top, "yarn's " + std::string(key));
    }
  }
}

void read_rope(const JsonFields& fields, double default_theta, ModelConfig& config) {
  RopeOptions& rope = config.rope;
  rope.rope_theta = positive_number(fields, "rope_theta", default_theta);
  const Json* nested = fields.find("rope_parameters");
  const std::string key = nested != nullptr ? "rope_parameters" : "rope_scaling";
  if (nested == nullptr) nested = fields.find("rope_scaling");
  double share = fields.number("partial_rotary_factor", 1);
  if (nested != nullptr) {
    const JsonFields inner(*nested, fields.where() + ": " + key);
    rope.rope_theta = positive_number(inner, "rope_theta", rope.rope_theta);
    share = inner.number("partial_rotary_factor", share);
    read_rope_scaling(inner, fields, config);
  }
  if (share != 1) unsupported(fields, "partial_rotary_factor other than 1");
  if (config.head_dim % 2 != 0) {
    fields.fail("head_dim", std::to_string(config.head_dim) + " must be even for rotary embedding");
  }
  rope.rotary_dim = config.head_dim;
}

// What transformers takes when the key is absent, as opposed to null.
constexpr std::int64_t kDefaultWindow = 4096;

void read_windows(const JsonFields& fields, bool window_is_null, ModelConfig& config) {
  const auto layers = static_cast<std::size_t>(config.num_hidden_layers);
  config.layer_windows.assign(layers, 0);
  const bool is_qwen = config.model_type == "qwen2" || config.model_type == "qwen3";
  if (config.model_type == "llama" || window_is_null) return;
  if (is_qwen && !fields.boolean("use_sliding_window", false)) return;
  const std::int64_t window = fields.positive("sliding_window", kDefaultWindow);
  const Json* types = is_qwen ? fields.find("layer_types") : nullptr;
  if (types == nullptr) {
    const auto first = is_qwen ? fields.integer("max_window_layers", 28) : 0;
    for (std::size_t i = 0; i < layers; ++i) {
      if (static_cast<std::int64_t>(i) >= first) config.layer_windows[i] = window;
    }
    return;
  }
  if (!types->is_array() || types->size() != layers) {
    fields.fail("layer_types", "must be a list with one word for each of the " +
                                   std::to_string(layers) + " layers");
  }
  for (std::size_t i = 0; i < layers; ++i) {
    const Json& type = (*types)[i];
    if (type == "sliding_attention") {
      config.layer_windows[i] = window;
    } else if (type != "full_attention") {
      fields.fail("layer_types",
                  "must hold full_attention and sliding_attention, got " + detail::describe(type));
    }
  }
}

void read_decoder(const Json& json, const JsonFields& fields, const KnownType& known,
                  ModelConfig& config) {
  config.hidden_act = fields.string("hidden_act", "silu");
  if (config.hidden_act != "silu" && config.hidden_act != "swish") {
    unsupported(fields, "hidden_act \"" + config.hidden_act + "\" is not silu");
  }
  config.hidden_act = "silu";
  config.norm_eps = fields.number("rms_norm_eps", known.norm_eps);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  const bool attention_bias = fields.boolean("attention_bias", false);
  if (config.model_type == "qwen2") {
    config.qkv_bias = true;
  } else if (config.model_type != "mistral") {
    config.qkv_bias = attention_bias;
    config.attention_output_bias = attention_bias;
  }
  config.mlp_bias = config.model_type == "llama" && fields.boolean("mlp_bias", false);
  config.qk_norm = config.model_type == "qwen3";
  if (config.qk_norm && fields.find("head_dim") == nullptr) config.head_dim = 128;
  read_rope(fields, known.rope_theta, config);
  const auto window = json.find("sliding_window");
  read_windows(fields, window != json.end() && window->is_null(), config);
}

void read_encoder(const JsonFields& fields, const KnownType& known, ModelConfig& config) {
  config.hidden_act = fields.string("hidden_act", "gelu");
  const auto known_acts = {"gelu", "gelu_new", "gelu_pytorch_tanh"};
  if (std::find(known_acts.begin(), known_acts.end(), config.hidden_act) == known_acts.end()) {
    unsupported(fields, "hidden_act \"" + config.hidden_act +
                            "\" is not one of gelu, gelu_new, gelu_pytorch_tanh");
  }
  config.norm_eps = fields.number("layer_norm_eps", known.norm_eps);
  config.type_vocab_size = fields.positive("type_vocab_size", 2);
  config.qkv_bias = config.attention_output_bias = config.mlp_bias = true;
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (fields.boolean(key, false)) unsupported(fields, std::string(key) + " is not supported");
  }
  const std::string positions = fields.string("position_embedding_type", "absolute");
  if (positions != "absolute") {
    unsupported(fields, "position_embedding_type \"" + positions + "\" is not absolute");
  }
  if (config.head_dim * config.num_attention_heads != config.hidden_size) {
    fields.fail("hidden_size", "must be num_attention_heads times the size of a head");
  }
}

}  // namespace

ModelConfig parse_model_config(std::string_view json, std::string_view where) {
  const Json parsed = detail::parse_json(json, where);
  const JsonFields fields(parsed, std::string(where));
  const KnownType& known = known_type(fields);
  if (fields.find("quantization_config") != nullptr || fields.find("quantization") != nullptr) {
    unsupported(fields, "quantised weights (quantization_config) are not supported");
  }
  ModelConfig config;
  config.json = std::string(json);
  config.model_type = known.model_type;
  config.family = known.family;
  config.architecture = known.architecture;
  if (const Json* names = fields.find("architectures")) {
    if (!names->is_array() || names->empty() || !(*names)[0].is_string()) {
      fields.fail("architectures", "must be a list with a name");
    }
    config.architecture = (*names)[0].get<std::string>();
  }
  read_sizes(fields, config);
  config.dtype = fields.string("dtype", fields.string("torch_dtype", ""));
  if (known.family == ModelFamily::kDecoder) {
    read_decoder(parsed, fields, known, config);
  } else {
    read_encoder(fields, known, config);
  }
  if (!(config.norm_eps >= 0)) fields.fail("rms_norm_eps", "must not be negative");
  read_token_ids(fields, config);
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  ModelConfig config = parse_model_config(detail::read_text_file(path), path.string());
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    const Json json = detail::read_json_file(generation);
    read_token_ids(JsonFields(json, generation.string()), config);
  }
  return config;
}

namespace {

Json rope_json(const RopeOptions& rope) {
  Json json{{"rope_type", "default"}, {"rope_theta", rope.rope_theta}};
  if (rope.scaling == RopeScaling::kDefault) return json;
  json["factor"] = rope.factor;
  json["original_max_position_embeddings"] =
      static_cast<std::int64_t>(rope.original_max_position_embeddings);
  if (rope.scaling == RopeScaling::kLinear) {
    json["rope_type"] = "linear";
  } else if (rope.scaling == RopeScaling::kLlama3) {
    json["rope_type"] = "llama3";
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
  } else {
    json["rope_type"] = "yarn";
    json["beta_fast"] = rope.beta_fast;
    json["beta_slow"] = rope.beta_slow;
    json["truncate"] = rope.truncate;
    if (rope.attention_factor > 0) json["attention_factor"] = rope.attention_factor;
  }
  return json;
}

void write_decoder(const ModelConfig& config, Json& json) {
  json["rms_norm_eps"] = config.norm_eps;
  json["head_dim"] = config.head_dim;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["use_cache"] = true;
  json["attention_dropout"] = 0.0;
  if (config.model_type == "llama") json["mlp_bias"] = config.mlp_bias;
  if (config.model_type == "llama" || config.model_type == "qwen3") {
    json["attention_bias"] = config.qkv_bias;
  }
  // v5's object, and v4's two keys that say the same.
  const Json rope = rope_json(config.rope);
  json["rope_parameters"] = rope;
  json["rope_theta"] = config.rope.rope_theta;
  json["rope_scaling"] = nullptr;
  if (config.rope.scaling != RopeScaling::kDefault) json["rope_scaling"] = rope;
  const auto widest = std::max_element(config.layer_windows.begin(), config.layer_windows.end());
  if (widest == config.layer_windows.end() || *widest == 0) {
    if (config.model_type != "llama") json["sliding_window"] = nullptr;
    return;
  }
  json["sliding_window"] = *widest;
  if (config.model_type == "mistral") return;
  json["use_sliding_window"] = true;
  Json types = Json::array();
  for (const std::int64_t window : config.layer_windows) {
    types.push_back(window == 0 ? "full_attention" : "sliding_attention");
  }
  const auto first = std::find_if(config.layer_windows.begin(), config.layer_windows.end(),
                                  [](std::int64_t window) { return window != 0; });
  json["max_window_layers"] = first - config.layer_windows.begin();
  json["layer_types"] = std::move(types);
}

}  // namespace

std::string to_json(const ModelConfig& config) {
  Json json{{"model_type", config.model_type},
            {"architectures", {config.architecture}},
            {"vocab_size", config.vocab_size},
            {"hidden_size", config.hidden_size},
            {"intermediate_size", config.intermediate_size},
            {"num_hidden_layers", config.num_hidden_layers},
            {"num_attention_heads", config.num_attention_heads},
            {"max_position_embeddings", config.max_position_embeddings},
            {"hidden_act", config.hidden_act},
            {"initializer_range", config.initializer_range}};
  if (config.family == ModelFamily::kDecoder) {
    write_decoder(config, json);
  } else {
    json["layer_norm_eps"] = config.norm_eps;
    json["type_vocab_size"] = config.type_vocab_size;
  }
  if (!config.dtype.empty()) {
    json["dtype"] = config.dtype;
    json["torch_dtype"] = config.dtype;
  }
  if (config.bos_token_id) json["bos_token_id"] = *config.bos_token_id;
  if (config.pad_token_id) json["pad_token_id"] = *config.pad_token_id;
  if (config.eos_token_ids.size() == 1) {
    json["eos_token_id"] = config.eos_token_ids[0];
  } else if (!config.eos_token_ids.empty()) {
    json["eos_token_id"] = config.eos_token_ids;
  }
  return detail::to_text(json);
}

}  // namespace wick

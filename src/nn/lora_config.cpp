#include "wick/nn/lora_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

#include "base/json.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using detail::Json;
using detail::JsonFields;

// The keys that LoraConfig has fields for; all others are kept as they are.
constexpr std::array<std::string_view, 15> kOwnKeys{"alpha_pattern",   "base_model_name_or_path",
                                                    "exclude_modules", "init_lora_weights",
                                                    "layers_pattern",  "layers_to_transform",
                                                    "lora_alpha",      "lora_dropout",
                                                    "peft_type",       "r",
                                                    "rank_pattern",    "target_modules",
                                                    "task_type",       "use_dora",
                                                    "use_rslora"};

// What PEFT 0.21 writes besides, for a configuration that says nothing else.
const Json& peft_defaults() {
  static const Json defaults = Json::parse(R"({
    "alora_invocation_tokens": null, "arrow_config": null, "auto_mapping": null, "bias": "none",
    "corda_config": null, "ensure_weight_tying": false, "eva_config": null,
    "fan_in_fan_out": false, "inference_mode": true, "kasa_config": null,
    "layer_replication": null, "loftq_config": {}, "lora_bias": false, "lora_ga_config": null,
    "megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null,
    "monteclora_config": null, "peft_version": "0.21.0", "qalora_group_size": 16,
    "revision": null, "target_parameters": null, "trainable_token_indices": null,
    "use_bdlora": null, "use_qalora": false, "velora_config": null})");
  return defaults;
}

// Keys that change what an adapter computes or trains: allowed only while they say nothing. The configurations of
// initialisations (corda_config, eva_config, loftq_config, lora_ga_config) are not among them: init_lora_weights says
// whether one took place.
constexpr std::array<std::string_view, 16> kUnsupportedKeys{
    "alora_invocation_tokens", "arrow_config",    "enable_lora",       "ensure_weight_tying",
    "fan_in_fan_out",          "kasa_config",     "layer_replication", "lora_bias",
    "megatron_config",         "modules_to_save", "monteclora_config", "target_parameters",
    "trainable_token_indices", "use_bdlora",      "use_qalora",        "velora_config"};

bool says_nothing(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

[[noreturn]] void unsupported(const JsonFields& fields, std::string_view key, const Json& value,
                              std::string hint = {}) {
  throw Error(ErrorKind::kUnsupported, "lora_config",
              fields.where() + ": " + std::string(key) + " = " + detail::describe(value) +
                  " changes what the adapter computes and is not supported",
              {}, std::move(hint));
}

void check_supported(const JsonFields& fields) {
  const std::string type = fields.string("peft_type");
  if (type != "LORA") unsupported(fields, "peft_type", Json(type), "only LORA adapters are read");
  for (const std::string_view key : kUnsupportedKeys) {
    const Json* value = fields.find(key);
    if (value != nullptr && !says_nothing(*value)) unsupported(fields, key, *value);
  }
  const std::string bias = fields.string("bias", "none");
  if (bias != "none") unsupported(fields, "bias", Json(bias));
  const std::string task = fields.string("task_type", "CAUSAL_LM");
  if (task != "CAUSAL_LM" && task != "FEATURE_EXTRACTION") {
    unsupported(fields, "task_type", Json(task));
  }
}

std::vector<std::string> strings(const JsonFields& fields, std::string_view key, const Json& list) {
  std::vector<std::string> values;
  for (const Json& value : list) {
    if (!value.is_string()) fields.fail(key, "must hold strings, got " + detail::describe(value));
    values.push_back(value.get<std::string>());
  }
  return values;
}

// PEFT takes the word in any case.
bool is_all_linear(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text == "all-linear";
}

ModulePattern read_pattern(const JsonFields& fields, std::string_view key) {
  ModulePattern pattern;
  const Json* value = fields.find(key);
  if (value == nullptr) return pattern;
  if (value->is_array()) {
    pattern.suffixes = strings(fields, key, *value);
    if (key == "target_modules" && value->empty()) fields.fail(key, "must not be an empty list");
  } else if (value->is_string()) {
    const auto text = value->get<std::string>();
    if (text.empty()) fields.fail(key, "must not be empty text");
    pattern.all_linear = key == "target_modules" && is_all_linear(text);
    if (!pattern.all_linear) pattern.regex = text;
  } else {
    fields.fail(key, "must be a list of names or a string, got " + detail::describe(*value));
  }
  return pattern;
}

Json pattern_json(const ModulePattern& pattern) {
  if (pattern.all_linear) return "all-linear";
  if (!pattern.regex.empty()) return pattern.regex;
  return pattern.suffixes.empty() ? Json() : Json(pattern.suffixes);
}

LoraInit read_init(const JsonFields& fields) {
  const Json* value = fields.find("init_lora_weights");
  if (value == nullptr || *value == true) return LoraInit::kKaiming;
  if (*value == false) return LoraInit::kNone;
  if (*value == "gaussian") return LoraInit::kGaussian;
  // These start A and B in their own way but leave the base model alone.
  if (*value == "eva") return LoraInit::kEva;
  if (*value == "orthogonal") return LoraInit::kOrthogonal;
  unsupported(fields, "init_lora_weights", *value,
              "such an initialisation changes the base model too; save the adapter with PEFT's "
              "path_initial_model_for_weight_conversion first");
}

void read_layers(const JsonFields& fields, LoraConfig& config) {
  if (const Json* value = fields.find("layers_to_transform")) {
    config.layers_to_transform.emplace();
    const Json list = value->is_array() ? *value : Json::array({*value});
    for (const Json& layer : list) {
      if (!layer.is_number_integer()) {
        fields.fail("layers_to_transform", "must be an integer or a list of integers");
      }
      config.layers_to_transform->push_back(layer.get<std::int64_t>());
    }
  }
  if (const Json* value = fields.find("layers_pattern")) {
    config.layers_pattern = value->is_string() ? std::vector<std::string>{value->get<std::string>()}
                                               : strings(fields, "layers_pattern", *value);
  }
}

void read_rank_and_alpha(const JsonFields& fields, std::string_view text, LoraConfig& config) {
  config.r = fields.positive("r", 8);
  config.lora_alpha = fields.number("lora_alpha", 8);
  config.lora_dropout = fields.number("lora_dropout", 0);
  if (!(config.lora_dropout >= 0 && config.lora_dropout < 1)) {
    fields.fail("lora_dropout", "must be at least 0 and less than 1");
  }
  const auto entries = [&](std::string_view key, auto&& add) {
    const Json* value = fields.find(key);
    if (value == nullptr) return;
    const JsonFields inner(*value, fields.where() + ": " + std::string(key));
    for (const std::string& name : detail::keys_in_order(text, key)) add(inner, name);
  };
  entries("rank_pattern", [&](const JsonFields& inner, const std::string& name) {
    config.rank_pattern.emplace_back(name, inner.positive(name));
  });
  entries("alpha_pattern", [&](const JsonFields& inner, const std::string& name) {
    config.alpha_pattern.emplace_back(name, inner.number(name));
  });
}

double finite(std::string_view key, double value) {
  if (std::isfinite(value)) return value;
  throw Error(ErrorKind::kArgument, "lora_config", std::string(key) + " must be finite");
}

// An integral number as Python would have written it.
Json number_json(std::string_view key, double value) {
  constexpr double kExact = 9007199254740992.0;
  if (std::floor(finite(key, value)) == value && std::abs(value) < kExact) {
    return static_cast<std::int64_t>(value);
  }
  return value;
}

Json init_json(LoraInit init) {
  switch (init) {
    case LoraInit::kKaiming:
      return true;
    case LoraInit::kNone:
      return false;
    case LoraInit::kGaussian:
      return "gaussian";
    case LoraInit::kEva:
      return "eva";
    case LoraInit::kOrthogonal:
      return "orthogonal";
  }
  return true;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

// All but the patterns, whose order matters.
Json unordered_part(const LoraConfig& config) {
  Json json = peft_defaults();
  const Json other = detail::parse_json(config.other_json, "other_json");
  if (!other.is_object()) {
    throw Error(ErrorKind::kArgument, "lora_config", "other_json must be a JSON object");
  }
  json.update(other);
  json["peft_type"] = "LORA";
  json["r"] = config.r;
  json["lora_alpha"] = number_json("lora_alpha", config.lora_alpha);
  json["lora_dropout"] = finite("lora_dropout", config.lora_dropout);
  json["use_rslora"] = config.use_rslora;
  json["use_dora"] = config.use_dora;
  json["target_modules"] = pattern_json(config.target_modules);
  json["exclude_modules"] = pattern_json(config.exclude_modules);
  json["layers_to_transform"] =
      config.layers_to_transform ? Json(*config.layers_to_transform) : Json();
  json["layers_pattern"] = config.layers_pattern.empty() ? Json() : Json(config.layers_pattern);
  json["init_lora_weights"] = init_json(config.init_lora_weights);
  json["base_model_name_or_path"] = text_or_null(config.base_model_name_or_path);
  json["task_type"] = text_or_null(config.task_type);
  // Keeps their places among the sorted keys.
  json["rank_pattern"] = json["alpha_pattern"] = nullptr;
  return json;
}

}  // namespace

LoraConfig parse_lora_config(std::string_view json, std::string_view where) {
  const Json parsed = detail::parse_json(json, where);
  const JsonFields fields(parsed, std::string(where));
  check_supported(fields);
  LoraConfig config;
  read_rank_and_alpha(fields, json, config);
  read_layers(fields, config);
  config.use_rslora = fields.boolean("use_rslora", false);
  config.use_dora = fields.boolean("use_dora", false);
  config.target_modules = read_pattern(fields, "target_modules");
  config.exclude_modules = read_pattern(fields, "exclude_modules");
  config.init_lora_weights = read_init(fields);
  config.base_model_name_or_path = fields.string("base_model_name_or_path", "");
  config.task_type = fields.string("task_type", "");
  Json other = parsed;
  for (const std::string_view key : kOwnKeys) other.erase(std::string(key));
  config.other_json = other.dump();
  return config;
}

std::string to_json(const LoraConfig& config) {
  nlohmann::ordered_json json = unordered_part(config);
  auto& ranks = json["rank_pattern"] = nlohmann::ordered_json::object();
  for (const auto& [name, rank] : config.rank_pattern) ranks[name] = rank;
  auto& alphas = json["alpha_pattern"] = nlohmann::ordered_json::object();
  for (const auto& [name, alpha] : config.alpha_pattern) {
    alphas[name] = nlohmann::ordered_json(number_json("alpha_pattern", alpha));
  }
  try {
    return json.dump(2);
  } catch (const Json::exception&) {
    throw Error(ErrorKind::kArgument, "lora_config",
                "adapter_config.json can hold UTF-8 text only");
  }
}

}  // namespace wick

#include "wick/models/model_config.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "models/model_support.hpp"

namespace wick::test {

namespace {

using detail::Json;
using Ids = std::vector<std::int64_t>;
using Windows = std::vector<std::int64_t>;

Json base(const std::string& model_type) {
  return {{"model_type", model_type}, {"architectures", {"X"}},   {"vocab_size", 100},
          {"hidden_size", 64},        {"intermediate_size", 96},  {"num_hidden_layers", 4},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2}, {"max_position_embeddings", 512}};
}

ModelConfig parse(const std::string& model_type, const Json& changes = Json::object()) {
  Json json = base(model_type);
  json.update(changes);
  return parse_model_config(json.dump());
}

std::string parse_error(const std::string& model_type, const Json& changes) {
  return error_of([&] { parse(model_type, changes); });
}

TEST(ModelConfig, ReadsLlama) {
  const ModelConfig config = parse("llama", {{"rms_norm_eps", 1e-5}, {"head_dim", 32}});
  EXPECT_EQ(config.family, ModelFamily::kDecoder);
  EXPECT_EQ(config.architecture, "X");
  EXPECT_EQ(config.vocab_size, 100);
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.num_hidden_layers, 4);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.max_position_embeddings, 512);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.rope.rotary_dim, 32);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.rope.rope_theta, 1e4);
  EXPECT_FALSE(config.qkv_bias || config.attention_output_bias || config.mlp_bias ||
               config.qk_norm || config.tie_word_embeddings);
  EXPECT_EQ(config.layer_windows, Windows(4, 0));
}

TEST(ModelConfig, FamiliesDifferInBiasesAndNorms) {
  const ModelConfig llama = parse("llama", {{"attention_bias", true}, {"mlp_bias", true}});
  EXPECT_TRUE(llama.qkv_bias && llama.attention_output_bias && llama.mlp_bias);
  const ModelConfig qwen2 = parse("qwen2", {{"attention_bias", false}, {"mlp_bias", true}});
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.attention_output_bias || qwen2.mlp_bias || qwen2.qk_norm);
  const ModelConfig qwen3 = parse("qwen3");
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_EQ(qwen3.head_dim, 128);  // not hidden_size / num_attention_heads
  EXPECT_EQ(parse("qwen3", {{"head_dim", 16}}).head_dim, 16);
  EXPECT_TRUE(parse("qwen3", {{"attention_bias", true}}).attention_output_bias);
  const ModelConfig mistral = parse("mistral", {{"attention_bias", true}});
  EXPECT_FALSE(mistral.qkv_bias);
  EXPECT_EQ(parse("mistral", {{"head_dim", nullptr}}).head_dim, 16);
}

TEST(ModelConfig, KeyValueHeadsDefaultToAllHeads) {
  Json json = base("llama");
  json.erase("num_key_value_heads");
  EXPECT_EQ(parse_model_config(json.dump()).num_key_value_heads, 4);
}

TEST(ModelConfig, BothSpellingsOfRopeSayTheSame) {
  const Json scaling{{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 128}};
  Json parameters = scaling;
  parameters["rope_theta"] = 5e5;
  const ModelConfig v4 = parse("llama", {{"rope_theta", 5e5}, {"rope_scaling", scaling}});
  const ModelConfig v5 = parse("llama", {{"rope_parameters", parameters}});
  for (const ModelConfig& config : {v4, v5}) {
    EXPECT_EQ(config.rope.rope_theta, 5e5);
    EXPECT_EQ(config.rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(config.rope.factor, 8);
    EXPECT_EQ(config.rope.low_freq_factor, 1);
    EXPECT_EQ(config.rope.high_freq_factor, 4);
    EXPECT_EQ(config.rope.original_max_position_embeddings, 128);
  }
  // v5's object wins over what v4 left behind.
  EXPECT_EQ(parse("llama", {{"rope_theta", 1e6}, {"rope_parameters", parameters}}).rope.rope_theta,
            5e5);
  const ModelConfig old = parse("llama", {{"rope_scaling", {{"type", "linear"}, {"factor", 4}}}});
  EXPECT_EQ(old.rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(old.rope.factor, 4);
  EXPECT_EQ(parse("llama", {{"rope_scaling", nullptr}}).rope.scaling, RopeScaling::kDefault);
}

TEST(ModelConfig, FrequenciesFollowTheFormulas) {
  const auto frequency = [](const ModelConfig& config) {
    return floats(rope_frequencies(config.rope).inv_freq);
  };
  const auto plain = [](std::size_t i) {
    return std::pow(1e4, -2.0 * static_cast<double>(i) / 16);
  };
  const std::vector<float> linear =
      frequency(parse("llama", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}}}}));
  ASSERT_EQ(linear.size(), 8U);
  for (std::size_t i = 0; i < linear.size(); ++i) {
    EXPECT_NEAR(linear[i], plain(i) / 4, 1e-6 * plain(i)) << i;
  }
  const std::vector<float> llama3 =
      frequency(parse("llama", {{"rope_scaling",
                                 {{"rope_type", "llama3"},
                                  {"factor", 8.0},
                                  {"low_freq_factor", 1.0},
                                  {"high_freq_factor", 4.0},
                                  {"original_max_position_embeddings", 64}}}}));
  int kept = 0;
  int stretched = 0;
  for (std::size_t i = 0; i < llama3.size(); ++i) {
    const double turns = 64 * plain(i) / (2 * std::numbers::pi);  // over the original context
    const double share = std::clamp((turns - 1) / (4 - 1), 0.0, 1.0);
    kept += share == 1 ? 1 : 0;
    stretched += share == 0 ? 1 : 0;
    EXPECT_NEAR(llama3[i], plain(i) * (share + (1 - share) / 8), 1e-6 * plain(i)) << i;
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(stretched, 0);
  EXPECT_LT(kept + stretched, 8);  // one lies between
}

TEST(ModelConfig, TokenIdsAreNumbersOrLists) {
  const ModelConfig one = parse("llama", {{"eos_token_id", 2}, {"bos_token_id", 1}});
  EXPECT_EQ(one.eos_token_ids, Ids{2});
  EXPECT_EQ(one.bos_token_id, 1);
  EXPECT_FALSE(one.pad_token_id.has_value());
  EXPECT_EQ(parse("llama", {{"eos_token_id", {128001, 128009}}}).eos_token_ids,
            (Ids{128001, 128009}));
  EXPECT_EQ(parse("llama", {{"eos_token_id", nullptr}}).eos_token_ids, Ids{});
  EXPECT_TRUE(has(parse_error("llama", {{"eos_token_id", {1, "2"}}}), "eos_token_id: must be an"));
}

TEST(ModelConfig, GenerationConfigWins) {
  const TempFolder folder;
  const Json json = [] {
    Json config = base("llama");
    config.update({{"eos_token_id", 2}, {"bos_token_id", 1}, {"pad_token_id", 0}});
    return config;
  }();
  write_text(folder / "config.json", json.dump());
  EXPECT_EQ(load_model_config(folder.path()).eos_token_ids, Ids{2});
  write_text(folder / "generation_config.json", R"({"eos_token_id": [2, 7], "pad_token_id": 5})");
  const ModelConfig config = load_model_config(folder.path());
  EXPECT_EQ(config.eos_token_ids, (Ids{2, 7}));
  EXPECT_EQ(config.pad_token_id, 5);
  EXPECT_EQ(config.bos_token_id, 1);
  write_text(folder / "generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_TRUE(has(error_of([&] { load_model_config(folder.path()); }, folder.path()),
                  "parse: generation_config.json: eos_token_id: "));
}

TEST(ModelConfig, DtypeHasTwoNames) {
  EXPECT_EQ(parse("llama", {{"torch_dtype", "bfloat16"}}).dtype, "bfloat16");
  EXPECT_EQ(parse("llama", {{"dtype", "float16"}, {"torch_dtype", "bfloat16"}}).dtype, "float16");
  EXPECT_EQ(parse("llama").dtype, "");
}

TEST(ModelConfig, WindowsOfMistral) {
  EXPECT_EQ(parse("mistral", {{"sliding_window", 8}}).layer_windows, Windows(4, 8));
  EXPECT_EQ(parse("mistral", {{"sliding_window", nullptr}}).layer_windows, Windows(4, 0));
  // Absent is not null: transformers has a default.
  EXPECT_EQ(parse("mistral").layer_windows, Windows(4, 4096));
  EXPECT_TRUE(
      has(parse_error("mistral", {{"sliding_window", 0}}), "sliding_window: must be a pos"));
}

TEST(ModelConfig, WindowsOfQwen) {
  for (const std::string type : {"qwen2", "qwen3"}) {
    const auto windows = [&](Json changes) {
      return parse(type, std::move(changes)).layer_windows;
    };
    EXPECT_EQ(windows({{"sliding_window", 8}, {"max_window_layers", 0}}), Windows(4, 0));
    EXPECT_EQ(windows({{"use_sliding_window", false}, {"sliding_window", 8}}), Windows(4, 0));
    EXPECT_EQ(
        windows({{"use_sliding_window", true}, {"sliding_window", 8}, {"max_window_layers", 1}}),
        (Windows{0, 8, 8, 8}));
    EXPECT_EQ(windows({{"use_sliding_window", true}, {"sliding_window", 8}}), Windows(4, 0));
    EXPECT_EQ(windows({{"use_sliding_window", true}, {"max_window_layers", 3}}),
              (Windows{0, 0, 0, 4096}));
    const Json types{"sliding_attention", "full_attention", "sliding_attention", "full_attention"};
    EXPECT_EQ(windows({{"use_sliding_window", true},
                       {"sliding_window", 8},
                       {"max_window_layers", 1},
                       {"layer_types", types}}),
              (Windows{8, 0, 8, 0}));
    const Json choice{{"use_sliding_window", true}, {"sliding_window", 8}};
    Json changes = choice;
    changes["layer_types"] = {"full_attention"};
    EXPECT_TRUE(
        has(parse_error(type, changes), "layer_types: must be a list with one word for each"));
    changes["layer_types"] = {"full_attention", "full_attention", "full_attention", "linear"};
    EXPECT_TRUE(has(parse_error(type, changes), "layer_types: must hold full_attention and"));
  }
}

// A configuration that Wick does not compute: model type, change, what the message must say.
struct Refusal {
  std::string model_type;
  std::string changes;
  std::string says;
};

class UnsupportedModel : public testing::TestWithParam<Refusal> {};

TEST_P(UnsupportedModel, IsRefusedByName) {
  const Refusal& refusal = GetParam();
  const std::string error = parse_error(refusal.model_type, Json::parse(refusal.changes));
  EXPECT_TRUE(error.starts_with("unsupported: load_model_config: config.json: ")) << error;
  EXPECT_TRUE(has(error, refusal.says)) << error;
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfig, UnsupportedModel,
    testing::Values(
        Refusal{"gpt2", "{}",
                R"(model_type "gpt2" is not one of llama, qwen2, qwen3, mistral, bert)"},
        Refusal{"mixtral", "{}", R"(model_type "mixtral")"},
        Refusal{"llama", R"({"quantization_config": {"quant_method": "gptq"}})",
                "quantization_config"},
        Refusal{"llama", R"({"quantization": {"bits": 4}})", "quantised"},
        Refusal{"llama", R"({"hidden_act": "gelu"})", R"(hidden_act "gelu" is not silu)"},
        Refusal{"bert", R"({"hidden_act": "relu"})", R"(hidden_act "relu" is not one of gelu)"},
        Refusal{"bert", R"({"position_embedding_type": "relative_key"})",
                "position_embedding_type"},
        Refusal{"bert", R"({"is_decoder": true})", "is_decoder"},
        Refusal{"bert", R"({"add_cross_attention": true})", "add_cross_attention"},
        Refusal{"llama", R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2}})",
                R"(rope_type "dynamic" is not one of default, linear, llama3, yarn)"},
        Refusal{"llama", R"({"rope_parameters": {"rope_type": "longrope", "factor": 2}})",
                R"(rope_type "longrope")"},
        Refusal{"llama", R"({"rope_scaling": {"rope_type": "yarn", "factor": 2, "mscale": 1}})",
                "yarn's mscale"},
        Refusal{"llama", R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"}));

TEST(ModelConfig, ABrokenValueIsNamed) {
  EXPECT_TRUE(has(parse_error("llama", {{"hidden_size", "64"}}),
                  "parse: config.json: hidden_size: must be a positive integer, got \"64\""));
  EXPECT_TRUE(has(parse_error("llama", {{"vocab_size", -1}}), "vocab_size: must be a positive"));
  EXPECT_TRUE(
      has(parse_error("llama", {{"hidden_size", 66}}), "must be a multiple of num_attention"));
  EXPECT_TRUE(
      has(parse_error("llama", {{"num_key_value_heads", 3}}), "must be a multiple of num_key"));
  EXPECT_TRUE(has(parse_error("llama", {{"head_dim", 15}}), "head_dim: 15 must be even"));
  EXPECT_TRUE(has(parse_error("llama", {{"rms_norm_eps", -1.0}}), "rms_norm_eps: must not be neg"));
  EXPECT_TRUE(has(parse_error("llama", {{"rope_theta", 0}}), "rope_theta: must be positive"));
  EXPECT_TRUE(has(parse_error("llama", {{"rope_scaling", {{"rope_type", "linear"}}}}),
                  "rope_scaling: factor: is missing"));
  EXPECT_TRUE(
      has(parse_error("llama", {{"rope_parameters", {{"rope_type", "llama3"}, {"factor", 8}}}}),
          "rope_parameters: low_freq_factor: is missing"));
  EXPECT_TRUE(has(parse_error("llama", {{"rope_parameters",
                                         {{"rope_type", "llama3"},
                                          {"factor", 8},
                                          {"low_freq_factor", 4},
                                          {"high_freq_factor", 4},
                                          {"original_max_position_embeddings", 64}}}}),
                  "rope_parameters: high_freq_factor: must be above low_freq_factor"));
  EXPECT_TRUE(
      has(parse_error("llama", {{"architectures", "Llama"}}), "architectures: must be a list"));
  EXPECT_TRUE(
      has(parse_error("bert", {{"head_dim", 8}}), "hidden_size: must be num_attention_heads"));
  EXPECT_TRUE(
      has(error_of([] { parse_model_config("{}"); }), "config.json: model_type: is missing"));
  EXPECT_TRUE(has(error_of([] { parse_model_config("{\"a\": 1,}"); }), "parse: config.json: byte"));
  const TempFolder folder;
  EXPECT_TRUE(has(error_of([&] { load_model_config(folder.path()); }, folder.path()), "io: "));
}

TEST(ModelConfig, EveryFixtureComesBackFromItsOwnText) {
  for (const std::string name : {"llama-sharded-bf16", "llama3-rope-scaled", "mistral-sliding",
                                 "qwen2-tied", "qwen3-qknorm", "bert-mean"}) {
    const ModelConfig config = load_model_config(fixture(name));
    const ModelConfig again = parse_model_config(to_json(config));
    EXPECT_EQ(again.model_type, config.model_type) << name;
    EXPECT_EQ(again.architecture, config.architecture);
    EXPECT_EQ(again.vocab_size, config.vocab_size);
    EXPECT_EQ(again.head_dim, config.head_dim);
    EXPECT_EQ(again.num_key_value_heads, config.num_key_value_heads);
    EXPECT_EQ(again.norm_eps, config.norm_eps);
    EXPECT_EQ(again.hidden_act, config.hidden_act);
    EXPECT_EQ(again.tie_word_embeddings, config.tie_word_embeddings);
    EXPECT_EQ(again.qkv_bias, config.qkv_bias);
    EXPECT_EQ(again.qk_norm, config.qk_norm);
    EXPECT_EQ(again.layer_windows, config.layer_windows);
    EXPECT_EQ(again.rope.rope_theta, config.rope.rope_theta);
    EXPECT_EQ(again.rope.scaling, config.rope.scaling);
    EXPECT_EQ(again.rope.factor, config.rope.factor);
    EXPECT_EQ(again.eos_token_ids, config.eos_token_ids);
    EXPECT_EQ(again.dtype, config.dtype);
    EXPECT_EQ(again.type_vocab_size, config.type_vocab_size);
  }
}

TEST(ModelConfig, WindowsComeBackToo) {
  for (const Json& types :
       {Json{"full_attention", "sliding_attention", "full_attention", "sliding_attention"}}) {
    const ModelConfig config = parse(
        "qwen3", {{"use_sliding_window", true}, {"sliding_window", 16}, {"layer_types", types}});
    EXPECT_EQ(parse_model_config(to_json(config)).layer_windows, (Windows{0, 16, 0, 16}));
  }
  const ModelConfig mistral = parse("mistral", {{"sliding_window", nullptr}});
  EXPECT_EQ(parse_model_config(to_json(mistral)).layer_windows, Windows(4, 0));
}

TEST(ModelConfig, ScaledRopeIsWrittenForBothVersions) {
  const ModelConfig config =
      parse("llama", {{"rope_theta", 5e5}, {"rope_scaling", {{"type", "linear"}, {"factor", 4}}}});
  Json v4 = Json::parse(to_json(config));
  EXPECT_EQ(v4["rope_parameters"]["rope_theta"], 5e5);
  v4.erase("rope_parameters");
  EXPECT_EQ(parse_model_config(v4.dump()).rope.factor, 4);
  EXPECT_EQ(parse_model_config(v4.dump()).rope.rope_theta, 5e5);
}

}  // namespace

}  // namespace wick::test

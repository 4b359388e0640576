#include "wick/nn/lora_config.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "nn/nn_support.hpp"

namespace wick::test {

namespace {

using detail::Json;
using Names = std::vector<std::string>;

LoraConfig parse(const Json& changes) {
  Json json{{"peft_type", "LORA"}};
  json.update(changes);
  return parse_lora_config(json.dump(), "adapter_config.json");
}

Json written(const LoraConfig& config) { return Json::parse(to_json(config)); }

TEST(LoraConfig, DefaultsArePefts) {
  const LoraConfig config = parse(Json::object());
  EXPECT_EQ(config.r, 8);
  EXPECT_EQ(config.lora_alpha, 8);
  EXPECT_EQ(config.lora_dropout, 0);
  EXPECT_FALSE(config.use_rslora);
  EXPECT_FALSE(config.use_dora);
  EXPECT_TRUE(config.target_modules.empty());
  EXPECT_TRUE(config.exclude_modules.empty());
  EXPECT_FALSE(config.layers_to_transform.has_value());
  EXPECT_EQ(config.init_lora_weights, LoraInit::kKaiming);
  EXPECT_EQ(config.task_type, "");
}

TEST(LoraConfig, ReadsEveryKey) {
  const LoraConfig config = parse({{"r", 16},
                                   {"lora_alpha", 12.5},
                                   {"lora_dropout", 0.25},
                                   {"use_rslora", true},
                                   {"use_dora", true},
                                   {"target_modules", {"q_proj", "v_proj"}},
                                   {"exclude_modules", "lm_head"},
                                   {"layers_to_transform", 3},
                                   {"layers_pattern", "layers"},
                                   {"init_lora_weights", "gaussian"},
                                   {"base_model_name_or_path", "some/model"},
                                   {"task_type", "FEATURE_EXTRACTION"}});
  EXPECT_EQ(config.r, 16);
  EXPECT_EQ(config.lora_alpha, 12.5);
  EXPECT_EQ(config.lora_dropout, 0.25);
  EXPECT_TRUE(config.use_rslora);
  EXPECT_TRUE(config.use_dora);
  EXPECT_EQ(config.target_modules.suffixes, (Names{"q_proj", "v_proj"}));
  EXPECT_EQ(config.exclude_modules.regex, "lm_head");
  EXPECT_EQ(config.layers_to_transform, std::vector<std::int64_t>{3});
  EXPECT_EQ(config.layers_pattern, Names{"layers"});
  EXPECT_EQ(config.init_lora_weights, LoraInit::kGaussian);
  EXPECT_EQ(config.base_model_name_or_path, "some/model");
  EXPECT_EQ(config.task_type, "FEATURE_EXTRACTION");
}

TEST(LoraConfig, AllLinearIsAWordInTargetModulesAlone) {
  EXPECT_TRUE(parse({{"target_modules", "all-linear"}}).target_modules.all_linear);
  EXPECT_TRUE(parse({{"target_modules", "All-Linear"}}).target_modules.all_linear);
  EXPECT_EQ(parse({{"exclude_modules", "all-linear"}}).exclude_modules.regex, "all-linear");
  EXPECT_EQ(parse({{"target_modules", ".*q_proj"}}).target_modules.regex, ".*q_proj");
}

TEST(LoraConfig, InitialisationsThatLeaveTheBaseAloneAreRead) {
  EXPECT_EQ(parse({{"init_lora_weights", true}}).init_lora_weights, LoraInit::kKaiming);
  EXPECT_EQ(parse({{"init_lora_weights", false}}).init_lora_weights, LoraInit::kNone);
  EXPECT_EQ(parse({{"init_lora_weights", "orthogonal"}}).init_lora_weights, LoraInit::kOrthogonal);
  const LoraConfig eva =
      parse({{"init_lora_weights", "eva"}, {"eva_config", {{"rho", 2.0}, {"tau", 0.99}}}});
  EXPECT_EQ(eva.init_lora_weights, LoraInit::kEva);
  EXPECT_EQ(written(eva)["init_lora_weights"], "eva");
  EXPECT_EQ(written(eva)["eva_config"]["tau"], 0.99);
  // Left over from a conversion: the initialisation itself says that it is done.
  EXPECT_NO_THROW(parse({{"init_lora_weights", true},
                         {"loftq_config", {{"loftq_bits", 4}}},
                         {"corda_config", {{"corda_method", "kpm"}}},
                         {"lora_ga_config", {{"direction", "ArB2r"}}}}));
}

// A key with a value that Wick does not compute.
class UnsupportedKey : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(UnsupportedKey, IsRefusedByNameAndFile) {
  const auto& [key, value] = GetParam();
  const std::string error = error_of([&] { parse({{key, Json::parse(value)}}); });
  EXPECT_TRUE(error.starts_with("unsupported: ")) << error;
  EXPECT_TRUE(has(error, "adapter_config.json: " + key + " = ")) << error;
}

INSTANTIATE_TEST_SUITE_P(
    LoraConfig, UnsupportedKey,
    testing::Values(
        std::pair{"peft_type", R"("LOHA")"}, std::pair{"peft_type", R"("IA3")"},
        std::pair{"task_type", R"("SEQ_CLS")"}, std::pair{"task_type", R"("TOKEN_CLS")"},
        std::pair{"bias", R"("all")"}, std::pair{"bias", R"("lora_only")"},
        std::pair{"fan_in_fan_out", "true"}, std::pair{"lora_bias", "true"},
        std::pair{"use_qalora", "true"}, std::pair{"modules_to_save", R"(["lm_head"])"},
        std::pair{"trainable_token_indices", "[1, 2]"},
        std::pair{"trainable_token_indices", R"({"embed_tokens": [0]})"},
        std::pair{"layer_replication", "[[0, 4], [2, 5]]"},
        std::pair{"megatron_config", R"({"tp": 2})"},
        std::pair{"alora_invocation_tokens", "[5, 6]"},
        std::pair{"target_parameters", R"(["mlp.experts.gate_up_proj"])"},
        std::pair{"arrow_config", R"({"top_k": 2})"}, std::pair{"use_bdlora", R"({"nblocks": 2})"},
        std::pair{"velora_config", R"({"rank": 2})"}, std::pair{"kasa_config", R"({"beta": 1.0})"},
        std::pair{"monteclora_config", R"({"n": 1})"}, std::pair{"ensure_weight_tying", "true"},
        std::pair{"enable_lora", "[true, false, true]"},
        std::pair{"init_lora_weights", R"("pissa")"},
        std::pair{"init_lora_weights", R"("pissa_niter_16")"},
        std::pair{"init_lora_weights", R"("olora")"}, std::pair{"init_lora_weights", R"("corda")"},
        std::pair{"init_lora_weights", R"("loftq")"},
        std::pair{"init_lora_weights", R"("lora_ga")"},
        std::pair{"init_lora_weights", R"("something new")"}));

TEST(LoraConfig, KeysThatSayNothingAreNoHindrance) {
  EXPECT_NO_THROW(parse({{"bias", "none"},
                         {"fan_in_fan_out", false},
                         {"modules_to_save", Json::array()},
                         {"loftq_config", Json::object()},
                         {"use_bdlora", nullptr},
                         {"qalora_group_size", 16},
                         {"megatron_core", "megatron.core"},
                         {"trainable_token_indices", nullptr}}));
}

TEST(LoraConfig, ABrokenValueIsNamed) {
  const auto error = [](const Json& changes) { return error_of([&] { parse(changes); }); };
  EXPECT_TRUE(has(error({{"r", 0}}), "parse: adapter_config.json: r: must be a positive integer"));
  EXPECT_TRUE(has(error({{"r", "8"}}), "r: must be a positive integer, got \"8\""));
  EXPECT_TRUE(has(error({{"lora_alpha", "16"}}), "lora_alpha: must be a number"));
  EXPECT_TRUE(has(error({{"lora_dropout", 1.0}}), "lora_dropout: must be at least 0 and less"));
  EXPECT_TRUE(has(error({{"lora_dropout", -0.1}}), "lora_dropout: must be at least 0 and less"));
  EXPECT_TRUE(has(error({{"use_dora", 1}}), "use_dora: must be true or false"));
  EXPECT_TRUE(has(error({{"target_modules", 3}}), "target_modules: must be a list of names"));
  EXPECT_TRUE(has(error({{"target_modules", {1}}}), "target_modules: must hold strings, got 1"));
  EXPECT_TRUE(
      has(error({{"target_modules", Json::array()}}), "target_modules: must not be an empty"));
  EXPECT_TRUE(has(error({{"target_modules", ""}}), "target_modules: must not be empty"));
  EXPECT_TRUE(has(error({{"layers_to_transform", {0, "1"}}}), "layers_to_transform: must be an"));
  EXPECT_TRUE(has(error({{"rank_pattern", {{"q_proj", 0}}}}), "rank_pattern: q_proj: must be"));
  EXPECT_TRUE(has(error({{"rank_pattern", {1}}}), "rank_pattern: must be a JSON object"));
  EXPECT_TRUE(has(error({{"alpha_pattern", {{"q_proj", "x"}}}}), "alpha_pattern: q_proj: must be"));
  EXPECT_TRUE(has(error_of([] { parse_lora_config("{}", "adapter_config.json"); }),
                  "peft_type: is missing"));
  EXPECT_TRUE(has(error_of([] { parse_lora_config("[1", "adapter_config.json"); }),
                  "parse: adapter_config.json: byte"));
  EXPECT_TRUE(has(error_of([] { parse_lora_config("[1]", "adapter_config.json"); }),
                  "must be a JSON object"));
}

TEST(LoraConfig, UnknownKeysComeBackVerbatim) {
  const Json unknown{{"future_option", {{"deep", {1, 2.5, nullptr, "text"}}}},
                     {"revision", "abc"},
                     {"inference_mode", false},
                     {"peft_version", "0.99.1"},
                     {"auto_mapping", {{"base_model_class", "X"}}}};
  const Json after = written(parse(unknown));
  for (const auto& [key, value] : unknown.items()) EXPECT_EQ(after[key], value) << key;
}

TEST(LoraConfig, WritesWhatPeftWrites) {
  // A fixture was written by PEFT itself: read and written again it is the same text, but for the order of a list.
  const std::filesystem::path adapters =
      std::filesystem::path(WICK_TEST_FIXTURES) / "models/qwen2-tied/adapters";
  for (const std::string name : {"lora", "lora-all", "rslora", "dora"}) {
    const std::string text = detail::read_text_file(adapters / name / "adapter_config.json");
    const LoraConfig config = parse_lora_config(text, name);
    EXPECT_EQ(to_json(config), text) << name;
  }
}

TEST(LoraConfig, WritesAllKeysSorted) {
  const std::string text = to_json(LoraConfig{.target_modules = {.suffixes = {"q_proj"}}});
  const Json json = Json::parse(text);
  std::string before;
  std::size_t at = 0;
  for (const auto& [key, value] : json.items()) {  // Json sorts
    const std::size_t found = text.find("\n  \"" + key + "\": ");
    ASSERT_NE(found, std::string::npos) << key;
    EXPECT_GE(found, at) << key << " stands before " << before;
    at = found;
    before = key;
  }
  EXPECT_EQ(json.size(), 41U);
  EXPECT_EQ(json["peft_type"], "LORA");
  EXPECT_EQ(json["task_type"], "CAUSAL_LM");
  EXPECT_EQ(json["inference_mode"], true);
  EXPECT_EQ(json["base_model_name_or_path"], nullptr);
  EXPECT_TRUE(json["lora_alpha"].is_number_integer());
  EXPECT_TRUE(json["lora_dropout"].is_number_float());
  EXPECT_EQ(text.back(), '}');
}

TEST(LoraConfig, PatternsKeepTheirOrder) {
  const std::string text = R"({"peft_type": "LORA", "rank_pattern": {"z": 1, "a": 2, "m": 3},
                               "alpha_pattern": {"b": 1.5, "a": 2}})";
  const LoraConfig config = parse_lora_config(text, "adapter_config.json");
  const std::vector<std::pair<std::string, std::int64_t>> ranks{{"z", 1}, {"a", 2}, {"m", 3}};
  EXPECT_EQ(config.rank_pattern, ranks);
  const LoraConfig again = parse_lora_config(to_json(config), "adapter_config.json");
  EXPECT_EQ(again.rank_pattern, ranks);
  EXPECT_EQ(again.alpha_pattern, config.alpha_pattern);
  EXPECT_TRUE(has(to_json(config), R"("b": 1.5)"));
  EXPECT_TRUE(has(to_json(config), R"("a": 2)"));
}

TEST(LoraConfig, SurvivesTheRoundTrip) {
  LoraConfig config{.r = 3, .lora_alpha = 0.5, .lora_dropout = 0.1, .use_rslora = true};
  config.target_modules = {.all_linear = true};
  config.exclude_modules = {.suffixes = {"o_proj"}};
  config.layers_to_transform = {0, 2};
  config.layers_pattern = {"layers"};
  config.init_lora_weights = LoraInit::kNone;
  const LoraConfig again = parse_lora_config(to_json(config), "adapter_config.json");
  EXPECT_EQ(again.lora_alpha, 0.5);
  EXPECT_TRUE(again.target_modules.all_linear);
  EXPECT_EQ(again.exclude_modules.suffixes, Names{"o_proj"});
  EXPECT_EQ(again.layers_to_transform, config.layers_to_transform);
  EXPECT_EQ(again.layers_pattern, config.layers_pattern);
  EXPECT_EQ(again.init_lora_weights, LoraInit::kNone);
  EXPECT_EQ(to_json(again), to_json(config));
}

TEST(LoraConfig, RefusesToWriteWhatJsonCannotHold) {
  LoraConfig config;
  config.lora_alpha = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(has(error_of([&] { to_json(config); }), "lora_alpha must be finite"));
  config = {};
  config.base_model_name_or_path = "\xff";
  EXPECT_TRUE(has(error_of([&] { to_json(config); }), "UTF-8"));
  config = {};
  config.other_json = "[]";
  EXPECT_TRUE(has(error_of([&] { to_json(config); }), "other_json must be a JSON object"));
}

}  // namespace

}  // namespace wick::test

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "nn/nn_support.hpp"
#include "wick/nn/lora_config.hpp"

namespace wick::test {

namespace {

using Names = std::vector<std::string>;

// The linear layers of a decoder with two layers.
Names decoder() {
  Names paths;
  for (const std::string layer : {"0", "1"}) {
    for (const std::string name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      paths.push_back("model.layers." + layer + ".self_attn." + name);
    }
    for (const std::string name : {"gate_proj", "up_proj", "down_proj"}) {
      paths.push_back("model.layers." + layer + ".mlp." + name);
    }
  }
  paths.emplace_back("lm_head");
  return paths;
}

LoraSelection select(const LoraConfig& config, const std::string& model_type = "llama") {
  return select_lora_targets(config, decoder(), "lm_head", model_type);
}

// Paths without "model.layers.", and for layers their number and name: "0.q_proj".
Names chosen(const LoraSelection& selection) {
  Names names;
  for (const LoraTarget& target : selection.targets) {
    const std::string& path = target.path;
    const std::string prefix = "model.layers.";
    names.push_back(path.starts_with(prefix)
                        ? path.substr(prefix.size(), 2) + path.substr(path.rfind('.') + 1)
                        : path);
  }
  return names;
}

LoraConfig with_names(const Names& names) { return {.target_modules = {.suffixes = names}}; }
LoraConfig with_regex(const std::string& regex) { return {.target_modules = {.regex = regex}}; }

const LoraTarget& target(const LoraSelection& selection, const std::string& path) {
  for (const LoraTarget& one : selection.targets) {
    if (one.path == path) return one;
  }
  throw std::out_of_range(path);
}

TEST(LoraTargets, AListNamesModulesByTheirEnd) {
  EXPECT_EQ(chosen(select(with_names({"q_proj", "mlp.up_proj"}))),
            (Names{"0.q_proj", "0.up_proj", "1.q_proj", "1.up_proj"}));
  EXPECT_EQ(chosen(select(with_names({"model.layers.1.self_attn.o_proj", "lm_head"}))),
            (Names{"1.o_proj", "lm_head"}));
}

TEST(LoraTargets, AnEndBeginsAtADot) {
  const LoraSelection selection = select(with_names({"proj", "head", "q_proj"}));
  EXPECT_EQ(chosen(selection), (Names{"0.q_proj", "1.q_proj"}));
  EXPECT_EQ(selection.unmatched, (Names{"proj", "head"}));
}

TEST(LoraTargets, TextIsAnExpressionForTheWholePath) {
  EXPECT_EQ(chosen(select(with_regex(R"(.*\.1\.self_attn\.(q|v)_proj)"))),
            (Names{"1.q_proj", "1.v_proj"}));
  EXPECT_EQ(chosen(select(with_regex(R"(.*layers\.0\..*_proj)"))).size(), 7U);
  // A match in the middle is none.
  EXPECT_TRUE(
      has(error_of([] { select(with_regex("q_proj")); }), "(q_proj) names no linear layer"));
}

TEST(LoraTargets, GroupsThatTakeNoPartAreNoHindrance) {
  EXPECT_EQ(chosen(select(with_regex(R"((never)?.*0.*(q_proj))"))), (Names{"0.q_proj"}));
  EXPECT_EQ(chosen(select(with_regex(R"(()lm_head)"))), (Names{"lm_head"}));
  EXPECT_EQ(chosen(select(with_regex(R"(.*(?=v_proj)v_proj)"))), (Names{"0.v_proj", "1.v_proj"}));
}

TEST(LoraTargets, ABadExpressionIsShownWithThePlace) {
  const std::string error = error_of([] { select(with_regex("(q_proj")); });
  EXPECT_TRUE(has(error, R"(regular expression "(q_proj")")) << error;
  EXPECT_TRUE(has(error, "at character")) << error;
  // One that would run for ages is stopped.
  EXPECT_TRUE(
      has(error_of([] { select(with_regex(R"((([a-z._0-9]*)*)*[!?])")); }), "regular expression"));
}

TEST(LoraTargets, AllLinearLeavesOutTheOutputHead) {
  const LoraSelection selection = select({.target_modules = {.all_linear = true}});
  EXPECT_EQ(selection.targets.size(), 14U);
  EXPECT_EQ(selection.target_modules,
            (Names{"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
}

TEST(LoraTargets, DefaultsDependOnTheModelType) {
  for (const std::string type : {"llama", "mistral", "qwen2", "qwen3"}) {
    const LoraSelection selection = select({}, type);
    EXPECT_EQ(chosen(selection), (Names{"0.q_proj", "0.v_proj", "1.q_proj", "1.v_proj"})) << type;
    EXPECT_EQ(selection.target_modules, (Names{"q_proj", "v_proj"}));
  }
  const Names encoder{"encoder.layer.0.attention.self.query", "encoder.layer.0.attention.self.key",
                      "encoder.layer.0.attention.self.value", "encoder.layer.0.output.dense"};
  const LoraSelection selection = select_lora_targets({}, encoder, "", "bert");
  ASSERT_EQ(selection.targets.size(), 2U);
  EXPECT_EQ(selection.targets[0].path, encoder[0]);
  EXPECT_EQ(selection.targets[1].path, encoder[2]);
  EXPECT_TRUE(has(error_of([] { select({}, "gpt2"); }), "\"gpt2\" has no default"));
}

TEST(LoraTargets, ExcludedModulesAreTakenOut) {
  LoraConfig config = with_names({"q_proj", "v_proj"});
  config.exclude_modules.suffixes = {"v_proj", "model.layers.0.self_attn.q_proj"};
  EXPECT_EQ(chosen(select(config)), (Names{"1.q_proj"}));
  config.exclude_modules = {.regex = R"(.*\.0\..*)"};
  EXPECT_EQ(chosen(select(config)), (Names{"1.q_proj", "1.v_proj"}));
  config.exclude_modules = {.regex = ".*"};
  const std::string error = error_of([&] { select(config); });
  EXPECT_TRUE(has(error, "target_modules (q_proj, v_proj) less exclude_modules names no")) << error;
}

TEST(LoraTargets, LayersAreChosenByNumber) {
  LoraConfig config = with_names({"q_proj", "lm_head"});
  config.layers_to_transform = {1};
  // lm_head is listed in full: its layer is not asked for.
  EXPECT_EQ(chosen(select(config)), (Names{"1.q_proj", "lm_head"}));
  config.layers_pattern = {"layers"};
  EXPECT_EQ(chosen(select(config)), (Names{"1.q_proj", "lm_head"}));
  config.layers_pattern = {"h", "layers"};
  EXPECT_EQ(chosen(select(config)), (Names{"1.q_proj", "lm_head"}));
  config.layers_pattern = {"h"};
  EXPECT_EQ(chosen(select(config)), (Names{"lm_head"}));
  config.layers_pattern.clear();
  config.layers_to_transform = {0, 1};
  EXPECT_EQ(chosen(select(config)), (Names{"0.q_proj", "1.q_proj", "lm_head"}));
  config.layers_to_transform = {7};
  config.target_modules.suffixes = {"q_proj"};
  const std::string error = error_of([&] { select(config); });
  EXPECT_TRUE(has(error, "within layers_to_transform names no linear layer")) << error;
}

TEST(LoraTargets, AnEmptyListOfLayersChoosesAll) {
  LoraConfig config = with_names({"q_proj"});
  config.layers_to_transform.emplace();
  EXPECT_EQ(chosen(select(config)), (Names{"0.q_proj", "1.q_proj"}));
}

TEST(LoraTargets, RefusesWhatPeftRefuses) {
  LoraConfig config = with_regex(".*q_proj");
  config.layers_to_transform = {1};
  EXPECT_TRUE(
      has(error_of([&] { select(config); }), "layers_to_transform needs target_modules as"));
  config = with_names({"q_proj"});
  config.layers_pattern = {"layers"};
  EXPECT_TRUE(has(error_of([&] { select(config); }), "layers_pattern needs layers_to_transform"));
}

TEST(LoraTargets, RankAndAlphaTakeTheFirstPatternThatMatches) {
  LoraConfig config = with_names({"q_proj", "v_proj", "lm_head"});
  config.r = 4;
  config.lora_alpha = 6;
  config.rank_pattern = {{R"(layers\.1\..*q_proj)", 16}, {"q_proj", 2}, {"lm_head", 1}};
  config.alpha_pattern = {{"v_proj", 20}, {R"(0\.self_attn\.v_proj)", 99}};
  const LoraSelection selection = select(config);
  const LoraTarget& q0 = target(selection, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(q0.r, 2);
  EXPECT_EQ(q0.lora_alpha, 6);
  EXPECT_EQ(q0.scale, 3);
  EXPECT_EQ(target(selection, "model.layers.1.self_attn.q_proj").r, 16);
  EXPECT_EQ(target(selection, "lm_head").r, 1);
  const LoraTarget& v0 = target(selection, "model.layers.0.self_attn.v_proj");
  EXPECT_EQ(v0.r, 4);
  EXPECT_EQ(v0.lora_alpha, 20);
  EXPECT_EQ(v0.scale, 5);
}

TEST(LoraTargets, PatternsMatchTheEndFromADotOn) {
  LoraConfig config = with_names({"q_proj", "up_proj"});
  config.rank_pattern = {{"proj", 2}, {"p_proj", 2}, {"up_proj|nothing", 3}};
  const LoraSelection selection = select(config);
  EXPECT_EQ(target(selection, "model.layers.0.self_attn.q_proj").r, 8);
  EXPECT_EQ(target(selection, "model.layers.0.mlp.up_proj").r, 3);
}

TEST(LoraTargets, RankStabilisedScaleDividesByTheRoot) {
  LoraConfig config = with_names({"q_proj", "v_proj"});
  config.r = 16;
  config.lora_alpha = 8;
  config.use_rslora = true;
  config.rank_pattern = {{"v_proj", 2}};
  const LoraSelection selection = select(config);
  EXPECT_EQ(target(selection, "model.layers.0.self_attn.q_proj").scale, 2);
  EXPECT_EQ(target(selection, "model.layers.0.self_attn.v_proj").scale, 8 / std::sqrt(2.0));
}

TEST(LoraTargets, RefusesNumbersThatMakeNoSense) {
  LoraConfig config = with_names({"q_proj"});
  config.r = 0;
  EXPECT_TRUE(has(error_of([&] { select(config); }), "q_proj: r must be at least 1"));
  config.r = 4;
  config.alpha_pattern = {{"q_proj", std::nan("")}};
  EXPECT_TRUE(has(error_of([&] { select(config); }), "lora_alpha finite"));
}

TEST(LoraTargets, AMissNamesTheLayersThereAre) {
  const std::string error = error_of([] { select(with_names({"c_attn", "c_proj"})); });
  EXPECT_TRUE(has(error, "target_modules (c_attn, c_proj) names no linear layer")) << error;
  EXPECT_TRUE(has(error, "model.layers.0.self_attn.q_proj, ")) << error;
}

}  // namespace

}  // namespace wick::test

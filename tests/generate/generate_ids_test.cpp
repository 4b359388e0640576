#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "generate/support.hpp"
#include "harness/expect_error.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/io/safetensors.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

using test::fixture_model;
using test::Ids;

const std::vector<std::string> kDecoders{"llama-sharded-bf16", "llama3-rope-scaled",
                                         "mistral-sliding", "qwen2-tied", "qwen3-qknorm"};

Ids ids_of(const SafetensorsFile& file, const std::string& name) {
  const auto values = file.tensor(name).to_vector<std::int64_t>();
  return {values.begin(), values.end()};
}

// The model as the reference ran it.
std::shared_ptr<CausalLm> load(const std::string& name) {
  LoadOptions options{.dtype = DType::kF32};
  if (name == "llama-sharded-bf16") options.rope_dtype = DType::kBF16;
  return CausalLm::load(fixture_model(name), options);
}

// Prompts of many lengths, all different.
std::vector<Ids> some_prompts() {
  std::vector<Ids> prompts;
  for (const int length : {5, 1, 17, 2, 40, 17, 3, 9, 28}) {
    Ids ids;
    for (int i = 0; i < length; ++i) {
      ids.push_back(3 + (i * 37 + 11 * length + static_cast<int>(prompts.size())) % 300);
    }
    prompts.push_back(ids);
  }
  return prompts;
}

// Each prompt's result as a batch of its own. The prompts before it are there too, so that its number is the same.
std::vector<Ids> one_by_one(const CausalLm& model, const std::vector<Ids>& prompts,
                            GenerateOptions options) {
  options.batch_size = 1;
  options.prefill_chunk = 1000;
  return generate_ids(model, prompts, options);
}

TEST(GenerateIds, GreedyIdsAreThoseOfTheReference) {
  for (const std::string& name : kDecoders) {
    SCOPED_TRACE(name);
    const auto file = SafetensorsFile::open(fixture_model(name) / "expected.safetensors");
    const Ids expected = ids_of(file, "greedy_ids");
    const Ids input = ids_of(file, "input_ids");
    const auto prompt_end = std::mismatch(expected.begin(), expected.end(), input.begin()).first;
    ASSERT_GT(prompt_end - expected.begin(), 0);
    ASSERT_GT(expected.end() - prompt_end, 8);
    const std::vector<Ids> prompts{Ids(expected.begin(), prompt_end)};
    const GenerateOptions options{.max_new_tokens = expected.end() - prompt_end,
                                  .ignore_eos = true};
    EXPECT_EQ(generate_ids(*load(name), prompts, options)[0], Ids(prompt_end, expected.end()));
  }
}

// How much worse than the best the f32 model finds `id` after `prefix`, as a share of its largest logit.
double regret(const CausalLm& model, const Ids& prefix, std::int32_t id) {
  const NoGradGuard no_gradient;
  const auto length = static_cast<std::int64_t>(prefix.size());
  const Tensor hidden = model.hidden(Tensor::from_values(prefix, {1, length}));
  const Tensor last = contiguous(slice(hidden, 1, length - 1, length));
  const std::vector<float> logits = model.logits(last).to_vector<float>();
  const auto [least, best] = std::minmax_element(logits.begin(), logits.end());
  const float largest = std::max(*best, -*least);
  return static_cast<double>((*best - logits[static_cast<std::size_t>(id)]) / largest);
}

// Activations of 16 bits choose the same ids as f32 until two are nearly as good, and choose the same again.
TEST(GenerateIds, GreedyInSixteenBitsLeavesThatOfF32AtNearTiesAlone) {
  for (const auto& [dtype, limit] : {std::pair{DType::kBF16, 0.04}, {DType::kF16, 0.005}}) {
    for (const std::string& name : kDecoders) {
      SCOPED_TRACE(name + " in " + std::string(to_string(dtype)));
      const std::vector<Ids> prompts = some_prompts();
      const GenerateOptions options{.max_new_tokens = 12, .ignore_eos = true};
      const auto reference = CausalLm::load(fixture_model(name), {.dtype = DType::kF32});
      const std::vector<Ids> expected = generate_ids(*reference, prompts, options);
      const auto model = CausalLm::load(fixture_model(name), {.compute_dtype = dtype});
      const std::vector<Ids> got = generate_ids(*model, prompts, options);
      EXPECT_EQ(generate_ids(*model, prompts, options), got);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        ASSERT_EQ(got[i].size(), expected[i].size());
        const auto differs = std::mismatch(got[i].begin(), got[i].end(), expected[i].begin()).first;
        if (differs == got[i].end()) continue;
        Ids prefix = prompts[i];
        prefix.insert(prefix.end(), got[i].begin(), differs);
        EXPECT_LT(regret(*reference, prefix, *differs), limit) << i;
      }
    }
  }
}

TEST(GenerateIds, TheCacheChangesNothing) {
  const NoGradGuard no_gradient;
  for (const std::string& name : kDecoders) {
    SCOPED_TRACE(name);
    const auto model = load(name);
    const std::vector<Ids> prompts = some_prompts();
    for (const std::int64_t chunk : {1, 7, 512}) {
      const auto got = generate_ids(
          *model, prompts,
          {.max_new_tokens = 20, .ignore_eos = true, .prefill_chunk = chunk, .batch_size = 1});
      for (std::size_t i = 0; i < prompts.size(); i += 2) {
        EXPECT_EQ(got[i], test::greedy_without_cache(*model, prompts[i], 20)) << "prompt " << i;
      }
    }
  }
}

TEST(GenerateIds, ABatchGivesEachPromptWhatItGetsAlone) {
  const std::vector<Ids> prompts = some_prompts();
  for (const std::string& name : kDecoders) {
    const auto model = load(name);
    for (const double temperature : {0.0, 1.0}) {
      GenerateOptions options{
          .max_new_tokens = 24,
          .sampling = {
              .temperature = temperature, .top_p = 0.95, .repetition_penalty = 1.1, .seed = 77}};
      const std::vector<Ids> expected = one_by_one(*model, prompts, options);
      for (const auto& [batch_size, chunk] :
           std::vector<std::pair<int, int>>{{2, 512}, {4, 1}, {5, 16}, {9, 3}, {100, 512}}) {
        SCOPED_TRACE(::testing::Message()
                     << name << " temperature " << temperature << " batch_size " << batch_size
                     << " prefill_chunk " << chunk);
        options.batch_size = batch_size;
        options.prefill_chunk = chunk;
        EXPECT_EQ(generate_ids(*model, prompts, options), expected);
      }
    }
  }
}

TEST(GenerateIds, SeedsAndPromptNumbersMakeTheDifference) {
  const auto model = load("llama3-rope-scaled");
  const std::vector<Ids> same(3, Ids{5, 6, 7});
  GenerateOptions options{
      .max_new_tokens = 12, .sampling = {.temperature = 1, .seed = 1}, .ignore_eos = true};
  const auto first = generate_ids(*model, same, options);
  EXPECT_EQ(generate_ids(*model, same, options), first);
  EXPECT_NE(first[0], first[1]);
  EXPECT_NE(first[1], first[2]);
  options.sampling.seed = 2;
  EXPECT_NE(generate_ids(*model, same, options)[0], first[0]);
}

// Token 1 follows 0, 2 follows 1 and so on.
std::shared_ptr<CausalLm> counting_model(const std::string& more_config = "") {
  std::map<std::int32_t, std::int32_t> next;
  for (std::int32_t token = 0; token < 39; ++token) next[token] = token + 1;
  return test::scripted_model(40, next, more_config);
}

TEST(GenerateIds, EndsAtEachOfTheModelsEndTokens) {
  const auto model = counting_model(R"(, "eos_token_id": [12, 25])");
  const std::vector<Ids> prompts{{9}, {20, 21}, {12}, {30}};
  GenerateOptions options{.max_new_tokens = 6};
  GenerateStats stats;
  EXPECT_EQ(generate_ids(*model, prompts, options, &stats),
            (std::vector<Ids>{
                {10, 11}, {22, 23, 24}, {13, 14, 15, 16, 17, 18}, {31, 32, 33, 34, 35, 36}}));
  EXPECT_EQ(stats.num_prompt_tokens, 5);
  EXPECT_EQ(stats.num_generated_tokens, 3 + 4 + 6 + 6);  // with the two end tokens
  EXPECT_GE(stats.prefill_seconds, 0);
  EXPECT_GE(stats.decode_seconds, 0);
  options.ignore_eos = true;
  EXPECT_EQ(generate_ids(*model, prompts, options)[0], (Ids{10, 11, 12, 13, 14, 15}));
}

TEST(GenerateIds, EndsAtStopTokensEvenWhenEndTokensAreIgnored) {
  const auto model = counting_model(R"(, "eos_token_id": 12)");
  const std::vector<Ids> prompts{{9}, {14}, {16}};
  const GenerateOptions options{.max_new_tokens = 5, .stop_tokens = {15, 17}, .ignore_eos = true};
  EXPECT_EQ(generate_ids(*model, prompts, options),
            (std::vector<Ids>{{10, 11, 12, 13, 14}, {}, {}}));
}

TEST(GenerateIds, TheContextIsFilledToTheLastPosition) {
  const auto model = load("llama3-rope-scaled");  // 256 positions
  const std::vector<Ids> prompts{Ids(255, 7), Ids(250, 8), Ids(3, 9)};
  const GenerateOptions options{.max_new_tokens = 1000, .ignore_eos = true};
  const auto results = generate_ids(*model, prompts, options);
  EXPECT_EQ(results[0].size(), 1U);
  EXPECT_EQ(results[1].size(), 6U);
  EXPECT_EQ(results[2].size(), 253U);
  EXPECT_EQ(one_by_one(*model, prompts, options), results);
}

TEST(GenerateIds, NoPromptsNoResults) {
  const auto model = counting_model();
  GenerateStats stats{.num_prompt_tokens = 5};
  EXPECT_TRUE(generate_ids(*model, std::vector<Ids>{}, {}, &stats).empty());
  EXPECT_EQ(stats.num_prompt_tokens, 0);
}

TEST(GenerateIds, LeavesNoTapeBehind) {
  const auto model = counting_model();
  model->set_trainable(true);
  const std::vector<Ids> prompts{{1, 2}};
  EXPECT_EQ(generate_ids(*model, prompts, {.max_new_tokens = 3})[0], (Ids{3, 4, 5}));
  EXPECT_TRUE(grad_enabled());
}

TEST(GenerateIds, RefusesPromptsThatCannotBeContinued) {
  const auto model = load("llama3-rope-scaled");
  const auto run = [&](const std::vector<Ids>& prompts) {
    return [&model, prompts] { generate_ids(*model, prompts, {}); };
  };
  expect_error(ErrorKind::kArgument, {"generate: prompt 1 is empty"}, run({{5}, {}}));
  expect_error(ErrorKind::kArgument, {"prompt 0 has id 320 at position 2", "vocabulary has 320"},
               run({{5, 6, 320}}));
  expect_error(ErrorKind::kArgument, {"prompt 0 has id -1 at position 0"}, run({{-1}}));
  expect_error(ErrorKind::kArgument, {"prompt 0 has 256 tokens, which leaves no room", "256"},
               run({Ids(256, 5)}));
}

TEST(GenerateIds, RefusesOptionsOutOfRange) {
  const auto model = counting_model();
  const std::vector<Ids> prompts{{1}};
  const std::vector<std::pair<GenerateOptions, std::string>> bad{
      {{.max_new_tokens = 0}, "max_new_tokens must be at least 1, got 0"},
      {{.max_new_tokens = -4}, "max_new_tokens must be at least 1, got -4"},
      {{.prefill_chunk = 0}, "prefill_chunk must be at least 1, got 0"},
      {{.batch_size = 0}, "batch_size must be at least 1, got 0"},
      {{.sampling = {.temperature = -1}}, "temperature"},
      {{.stop_tokens = {3, 40}}, "stop token 40 is outside the model's vocabulary of 40"},
      {{.stop_tokens = {-1}}, "stop token -1"},
      {{.stop = {"x"}}, "stop strings need a tokenizer"},
  };
  for (const auto& [options, text] : bad) {
    expect_error(ErrorKind::kArgument, {text},
                 [&, &given = options] { generate_ids(*model, prompts, given); });
  }
  const GenerateOptions largest{.max_new_tokens = std::numeric_limits<std::int64_t>::max(),
                                .stop_tokens = {5},
                                .prefill_chunk = std::numeric_limits<std::int64_t>::max(),
                                .batch_size = std::numeric_limits<std::int64_t>::max()};
  EXPECT_EQ(generate_ids(*model, prompts, largest)[0], (Ids{2, 3, 4}));
}

}  // namespace

}  // namespace wick

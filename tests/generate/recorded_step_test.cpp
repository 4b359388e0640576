// Steps whose shapes and addresses stay: the same logits as steps that grow, and on a device that records, launches that are
// recorded once.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/null/null_backend.hpp"
#include "generate/decode_batch.hpp"
#include "generate/run_batch.hpp"
#include "generate/support.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

namespace {

using test::Ids;

std::vector<std::span<const std::int32_t>> spans_of(const std::vector<Ids>& prompts) {
  return {prompts.begin(), prompts.end()};
}

ModelConfig tiny_config(std::int64_t window) {
  std::string text = R"({"model_type": "mistral", "architectures": ["MistralForCausalLM"],
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4,
      "hidden_size": 16, "intermediate_size": 24, "vocab_size": 31, "max_position_embeddings": 1024)";
  if (window > 0) text += ", \"sliding_window\": " + std::to_string(window);
  return parse_model_config(text + "}");
}

void expect_close(detail::NextLogits& got, detail::NextLogits& expected, std::size_t rows) {
  for (std::size_t row = 0; row < rows; ++row) {
    const auto a = got.row(row);
    const auto b = expected.row(row);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-5) << row << ' ' << i;
  }
}

struct Run {
  std::vector<Ids> prompts;
  int steps = 0;
  std::int64_t window = 0;
};

void expect_the_same(const Run& run) {
  const NoGradGuard no_gradient;
  const auto model = CausalLm::create(tiny_config(run.window), 5);
  const auto rows = static_cast<std::int64_t>(run.prompts.size());
  KvCache growing_cache = model->make_cache(rows, 1000);
  KvCache fixed_cache = model->make_cache(rows, 1000);
  detail::DecodeBatch growing(*model, growing_cache, false);
  detail::DecodeBatch fixed(*model, fixed_cache, true);
  growing.prefill(spans_of(run.prompts), 64);
  fixed.prefill(spans_of(run.prompts), 64);
  Ids ids(run.prompts.size());
  for (int step = 0; step < run.steps; ++step) {
    SCOPED_TRACE(step);
    for (std::size_t row = 0; row < ids.size(); ++row) {
      ids[row] = static_cast<std::int32_t>((7 * static_cast<std::size_t>(step) + 3 * row) % 31);
    }
    detail::NextLogits expected = growing.step(ids);
    detail::NextLogits got = fixed.step(ids);
    expect_close(got, expected, ids.size());
    ASSERT_EQ(fixed_cache.length(), growing_cache.length());
    if (step == run.steps / 2 && ids.size() > 1) {  // rows that go on without the others
      growing.keep({1});
      fixed.keep({1});
      ids.resize(1);
    }
  }
}

Ids prompt(std::size_t length) {
  Ids ids(length);
  for (std::size_t i = 0; i < length; ++i) ids[i] = static_cast<std::int32_t>(i * 5 % 31);
  return ids;
}

TEST(RecordedStep, GivesTheLogitsOfAStepThatGrows) { expect_the_same({{prompt(9)}, 12}); }

TEST(RecordedStep, GoesOnWhereItsPositionsEnd) {
  expect_the_same({{prompt(250)}, 12});
  expect_the_same({{prompt(255)}, 3});
  expect_the_same({{prompt(256)}, 3});
}

TEST(RecordedStep, HidesThePaddingOfShorterRows) {
  expect_the_same({{prompt(3), prompt(11), prompt(7)}, 10});
}

TEST(RecordedStep, LeavesSlidingWindowsToStepsThatGrow) {
  expect_the_same({{prompt(20)}, 6, 8});
  expect_the_same({{prompt(250)}, 12, 300});  // and again where they would hide something
}

TEST(RecordedStep, TheLargestLogitIsFoundOnTheDevice) {
  const float infinity = HUGE_VALF;
  const Tensor logits = Tensor::from_values(
      std::vector<float>{1, 3, 3, -1, -infinity, 0, 5, NAN, 2, infinity, 0, 0}, {3, 1, 4});
  detail::NextLogits next(logits);
  EXPECT_EQ(next.most_likely(0), 1);
  EXPECT_EQ(next.most_likely(1), std::nullopt);
  EXPECT_EQ(next.most_likely(2), std::nullopt);
  EXPECT_EQ(next.row(1)[2], 5);
  detail::NextLogits none(Tensor::full({1, 1, 4}, -HUGE_VAL, DType::kF32));
  EXPECT_EQ(none.most_likely(0), std::nullopt);
}

std::vector<std::string> launched(Stream& stream) {
  std::vector<std::string> names;
  for (const null::Launch& launch : null::null_stream(stream).take_launches()) {
    names.push_back(launch.kernel);
  }
  return names;
}

TEST(RecordedStep, IsRecordedAtTheSecondAndRepeatedFromThenOn) {
  const NoGradGuard no_gradient;
  const std::shared_ptr<Stream> stream = make_stream(kNullDevice);
  const StreamGuard guard(stream);
  const auto model = CausalLm::create(tiny_config(0), 5, kNullDevice);
  KvCache cache = model->make_cache(1, 1000);
  detail::DecodeBatch batch(*model, cache);
  const std::vector<Ids> prompts{prompt(5)};
  batch.prefill(spans_of(prompts), 64);
  const Ids ids{1};
  batch.step(ids);
  launched(*stream);
  std::vector<std::string> steps[3];
  for (auto& names : steps) {
    batch.step(ids);
    names = launched(*stream);
  }
  EXPECT_EQ(cache.length(), 9);
  EXPECT_EQ(steps[0], steps[1]);
  EXPECT_EQ(steps[1], steps[2]);
  // For each layer: where a device takes it, rotation, cache and attention are one launch.
  EXPECT_EQ(std::ranges::count(steps[0], "decode_attention"), 2);
  EXPECT_EQ(std::ranges::count(steps[0], "rope"), 0);
  EXPECT_EQ(std::ranges::count(steps[0], "kv_append"), 0);
  EXPECT_EQ(std::ranges::count(steps[0], "attention"), 0);
  EXPECT_EQ(std::ranges::count(steps[0], "copy_to_host"), 0);
  EXPECT_EQ(null::null_stream(*stream).num_waits(), 0);
}

}  // namespace

}  // namespace wick

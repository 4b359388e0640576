#include "wick/models/causal_lm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_support.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::test {

namespace {

const std::vector<std::string> kDecoders{"llama-sharded-bf16", "llama3-rope-scaled",
                                         "mistral-sliding", "qwen2-tied", "qwen3-qknorm"};

// The reference of the bf16 fixture was computed after model.to(bfloat16), which rounds the rotary frequencies.
std::shared_ptr<CausalLm> load_as_reference(const std::string& name) {
  LoadOptions options{.dtype = DType::kF32};
  if (has(name, "bf16")) options.rope_dtype = DType::kBF16;
  return CausalLm::load(fixture(name), options);
}

// Position t of the reference's labels moves to t − 1.
Tensor targets_of(const Tensor& labels) {
  const std::vector<std::int64_t> values = labels.to_vector<std::int64_t>();
  const auto length = static_cast<std::size_t>(labels.dim(1));
  std::vector<std::int64_t> targets(values.size(), -100);
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    if ((i + 1) % length != 0) targets[i] = values[i + 1];
  }
  return Tensor::from_values(targets, labels.shape());
}

class EveryDecoder : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(CausalLm, EveryDecoder, testing::ValuesIn(kDecoders));

TEST_P(EveryDecoder, ComputesWhatTheReferenceDoes) {
  const auto model = load_as_reference(GetParam());
  const auto expected = SafetensorsFile::open(fixture(GetParam()) / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids");
  const Tensor hidden = model->hidden(ids);
  EXPECT_LT(max_error(hidden, expected.tensor("hidden_last")), 2e-4);
  EXPECT_LT(max_error(model->logits(hidden), expected.tensor("logits")), 2e-4);
  const Tensor loss = model->loss(hidden, targets_of(expected.tensor("labels")));
  EXPECT_LT(max_error(floats(loss), floats(expected.tensor("loss"))), 1e-5);
}

TEST_P(EveryDecoder, DecodesWithACacheAsWithout) {
  const auto model = CausalLm::load(fixture(GetParam()));
  constexpr std::int64_t kLength = 21;
  const std::vector<std::int32_t> all = some_ids(2 * kLength);
  const Tensor ids = ids_tensor(all, 2);
  const Tensor expected = logits_of(*model, ids);
  KvCache cache = model->make_cache(2, kLength);
  // A prompt in two pieces, then token by token: beyond the sliding window of 8, too.
  std::int64_t begin = 0;
  for (const std::int64_t end : {5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}) {
    const Tensor part = contiguous(slice(ids, 1, begin, end));
    const Tensor got = logits_of(*model, part, {.cache = &cache});
    EXPECT_LT(max_error(got, slice(expected, 1, begin, end)), 1e-4) << begin;
    EXPECT_EQ(cache.length(), end);
    begin = end;
  }
  EXPECT_TRUE(
      has(error_of([&] { logits_of(*model, contiguous(slice(ids, 1, 0, 1)), {.cache = &cache}); }),
          "holds 21 positions, 21 of them taken"));
}

TEST_P(EveryDecoder, GoesBackInTheCache) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const Tensor ids = ids_tensor(some_ids(12));
  KvCache cache = model->make_cache(1, 12);
  logits_of(*model, ids_tensor(some_ids(10, 5)), {.cache = &cache});
  cache.truncate(0);
  logits_of(*model, contiguous(slice(ids, 1, 0, 6)), {.cache = &cache});
  logits_of(*model, ids_tensor(some_ids(4, 7)), {.cache = &cache});
  cache.truncate(6);
  const Tensor got = logits_of(*model, contiguous(slice(ids, 1, 6, 12)), {.cache = &cache});
  EXPECT_LT(max_error(got, slice(logits_of(*model, ids), 1, 6, 12)), 1e-4);
}

TEST_P(EveryDecoder, KeepsSomeRowsOfTheCache) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const Tensor ids = ids_tensor(some_ids(30), 3);
  KvCache cache = model->make_cache(3, 10);
  logits_of(*model, contiguous(slice(ids, 1, 0, 7)), {.cache = &cache});
  cache.keep_rows({2, 0});
  const Tensor rest =
      concatenate({slice(slice(ids, 0, 2, 3), 1, 7, 10), slice(slice(ids, 0, 0, 1), 1, 7, 10)}, 0);
  const Tensor got = logits_of(*model, rest, {.cache = &cache});
  const Tensor expected = slice(logits_of(*model, ids), 1, 7, 10);
  EXPECT_LT(max_error(slice(got, 0, 0, 1), slice(expected, 0, 2, 3)), 1e-4);
  EXPECT_LT(max_error(slice(got, 0, 1, 2), slice(expected, 0, 0, 1)), 1e-4);
}

TEST_P(EveryDecoder, PackedDocumentsDoNotSeeEachOther) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const std::vector<std::int32_t> first = some_ids(7, 1);
  const std::vector<std::int32_t> second = some_ids(12, 2);
  std::vector<std::int32_t> both = first;
  both.insert(both.end(), second.begin(), second.end());
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> segments;
  for (std::int32_t i = 0; i < 19; ++i) {
    positions.push_back(i < 7 ? i : i - 7);
    segments.push_back(i < 7 ? 4 : 9);
  }
  const Tensor packed =
      logits_of(*model, ids_tensor(both),
                {.positions = ids_tensor(positions), .segments = ids_tensor(segments)});
  EXPECT_LT(max_error(slice(packed, 1, 0, 7), logits_of(*model, ids_tensor(first))), 1e-4);
  EXPECT_LT(max_error(slice(packed, 1, 7, 19), logits_of(*model, ids_tensor(second))), 1e-4);
  // Unmarked, the second does see the first.
  const Tensor joined = logits_of(*model, ids_tensor(both));
  EXPECT_GT(max_error(slice(joined, 1, 7, 19), slice(packed, 1, 7, 19)), 1e-2);
}

TEST_P(EveryDecoder, HiddenKeysChangeNothing) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const std::vector<std::int32_t> text = some_ids(9);
  std::vector<std::int32_t> padded{1, 2, 3};
  padded.insert(padded.end(), text.begin(), text.end());
  std::vector<std::int32_t> positions{0, 0, 0};
  std::vector<std::byte> kept(3, std::byte{0});
  for (std::int32_t i = 0; i < 9; ++i) {
    positions.push_back(i);
    kept.push_back(std::byte{1});
  }
  const Tensor got = logits_of(*model, ids_tensor(padded),
                               {.positions = ids_tensor(positions),
                                .key_mask = Tensor::from_bytes(kept, DType::kBool, {1, 12})});
  EXPECT_LT(max_error(slice(got, 1, 3, 12), logits_of(*model, ids_tensor(text))), 1e-4);
}

TEST_P(EveryDecoder, CheckpointedLayersGiveTheSameGradients) {
  const auto model = CausalLm::load(fixture(GetParam()), {.dtype = DType::kF32});
  model->set_trainable(true);
  const Tensor ids = ids_tensor(some_ids(8));
  const Tensor targets = ids_tensor(some_ids(8, 3));
  const auto gradients = [&](std::int64_t checkpointed, bool selective = false) {
    for (const auto& [name, tensor] : model->parameters()) tensor.set_grad(Tensor());
    const CausalPass pass{.checkpointed_layers = checkpointed,
                          .selective_checkpointing = selective};
    backward(model->loss(model->hidden(ids, pass), targets));
    std::vector<std::vector<float>> all;
    for (const auto& [name, tensor] : model->parameters()) {
      EXPECT_TRUE(tensor.grad().defined()) << name;
      all.push_back(floats(tensor.grad()));
    }
    return all;
  };
  const auto plain = gradients(0);
  EXPECT_EQ(gradients(1), plain);
  EXPECT_EQ(gradients(0, true), plain);
  EXPECT_EQ(gradients(1, true), plain);
  EXPECT_EQ(gradients(1000), plain);
}

TEST(CausalLm, LossInChunksIsTheLoss) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  const Tensor hidden = model->hidden(ids_tensor(some_ids(20), 2));
  std::vector<std::int32_t> wanted = some_ids(20, 3);
  wanted[4] = -100;
  const Tensor targets = ids_tensor(wanted, 2);
  const float whole = model->loss(hidden, targets).item<float>();
  for (const std::int64_t rows : {1, 3, 7, 64}) {
    EXPECT_NEAR(model->loss(hidden, targets, {}, rows).item<float>(), whole, 1e-5) << rows;
  }
}

TEST(CausalLm, RefusesIdsThatAreNone) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  EXPECT_TRUE(has(error_of([&] { model->hidden(Tensor::zeros({3}, DType::kI32)); }),
                  "shape: hidden: ids must be [B,T], got [3]"));
  EXPECT_TRUE(has(error_of([&] { model->hidden(ids_tensor({1, 320})); }), "320"));
  EXPECT_TRUE(has(error_of([&] { model->hidden(ids_tensor({-1})); }), "-1"));
}

TEST(CausalLm, ACacheOfAnotherBatchIsRefused) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  KvCache cache = model->make_cache(2, 4);
  EXPECT_TRUE(has(error_of([&] { logits_of(*model, ids_tensor({1, 2}), {.cache = &cache}); }),
                  "k and v must be [2,T,2,16], got [1,2,2,16]"));
}

TEST(CausalLm, ANewModelHasParametersOfTheDtypeThatIsAskedFor) {
  const ModelConfig config = load_model_config(fixture("qwen3-qknorm"));
  const auto model = CausalLm::create(config, 1, kCpuDevice, DType::kF32, DType::kBF16);
  const auto exact = CausalLm::create(config, 1);
  EXPECT_EQ(model->compute_dtype(), DType::kF32);
  for (std::size_t i = 0; i < model->parameters().size(); ++i) {
    const auto& [name, tensor] = model->parameters()[i];
    EXPECT_EQ(tensor.dtype(), DType::kBF16) << name;
    EXPECT_EQ(floats(tensor), floats(cast(exact->parameters()[i].second, DType::kBF16))) << name;
  }
  EXPECT_TRUE(has(
      error_of([&] { CausalLm::create(config, 1, kCpuDevice, DType::kF32, DType::kI32); }), "i32"));
}

TEST(CausalLm, ANewModelIsAFunctionOfTheSeed) {
  ModelConfig config = load_model_config(fixture("qwen3-qknorm"));
  config.initializer_range = 0.02;
  const auto model = CausalLm::create(config, 1);
  const auto same = CausalLm::create(config, 1);
  const auto other = CausalLm::create(config, 2);
  ASSERT_EQ(model->parameters().size(), same->parameters().size());
  for (std::size_t i = 0; i < model->parameters().size(); ++i) {
    const auto& [name, tensor] = model->parameters()[i];
    EXPECT_EQ(tensor.dtype(), DType::kF32);
    EXPECT_EQ(floats(tensor), floats(same->parameters()[i].second)) << name;
    const std::vector<float> values = floats(tensor);
    if (has(name, "norm")) {
      EXPECT_EQ(values, std::vector<float>(values.size(), 1)) << name;
      continue;
    }
    EXPECT_NE(values, floats(other->parameters()[i].second)) << name;
    double squares = 0;
    for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(values.size())), 0.02, 0.002) << name;
  }
  // Parameters have the names and shapes of a checkpoint.
  const auto loaded = CausalLm::load(fixture("qwen3-qknorm"));
  ASSERT_EQ(loaded->parameters().size(), model->parameters().size());
  for (std::size_t i = 0; i < loaded->parameters().size(); ++i) {
    EXPECT_EQ(loaded->parameters()[i].first, model->parameters()[i].first);
    EXPECT_EQ(loaded->parameters()[i].second.shape(), model->parameters()[i].second.shape());
  }
}

TEST(CausalLm, BiasesStartAtZero) {
  const auto model = CausalLm::create(load_model_config(fixture("qwen2-tied")), 1);
  int biases = 0;
  for (const auto& [name, tensor] : model->parameters()) {
    if (!name.ends_with(".bias")) continue;
    ++biases;
    EXPECT_EQ(floats(tensor), std::vector<float>(static_cast<std::size_t>(tensor.numel()), 0));
  }
  EXPECT_EQ(biases, 9);  // q, k and v of three layers
}

}  // namespace

}  // namespace wick::test

#include "wick/models/text_encoder.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "models/model_support.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/random.hpp"

namespace wick::test {

namespace {

constexpr const char* kModules = R"([
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])";
constexpr const char* kModulesNormalized = R"([
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])";
constexpr const char* kMean = R"({"word_embedding_dimension": 64, "pooling_mode_cls_token": false,
  "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false})";

Tensor mask_of(const std::vector<int>& kept, std::int64_t rows = 1) {
  std::vector<std::byte> bytes;
  for (const int one : kept) bytes.push_back(std::byte{one != 0});
  return Tensor::from_bytes(bytes, DType::kBool,
                            {rows, static_cast<std::int64_t>(kept.size()) / rows});
}

class TextEncoderTest : public testing::Test {
 protected:
  void SetUp() override { copy_model(fixture("bert-mean"), folder()); }
  std::filesystem::path folder() const { return folder_ / "model"; }
  void pooling(const std::string& modules, const std::string& config) const {
    std::filesystem::create_directories(folder() / "1_Pooling");
    write_text(folder() / "modules.json", modules);
    write_text(folder() / "1_Pooling/config.json", config);
  }
  std::string load_error() const {
    return error_of([&] { TextEncoder::load(folder()); }, folder_.path());
  }

  TempFolder folder_;
};

TEST_F(TextEncoderTest, ComputesWhatTheReferenceDoes) {
  const auto model = TextEncoder::load(folder());
  const auto expected = SafetensorsFile::open(fixture("bert-mean") / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids");
  const Tensor kept = expected.tensor("attention_mask");
  const Tensor mask = cast(kept, DType::kBool);
  std::vector<float> states = floats(model->hidden(ids, mask));
  std::vector<float> reference = floats(expected.tensor("last_hidden_state"));
  const std::vector<std::int64_t> flags = kept.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (flags[i / 64] == 0) states[i] = reference[i] = 0;
  }
  EXPECT_LT(max_error(states, reference), 2e-4);
  EXPECT_LT(max_error(model->embed(ids, mask), expected.tensor("embedding")), 1e-5);
}

TEST_F(TextEncoderTest, PaddingChangesNothing) {
  const auto model = TextEncoder::load(folder());
  const std::vector<std::int32_t> text = some_ids(6);
  std::vector<std::int32_t> padded = text;
  padded.insert(padded.end(), {0, 0, 5});
  const Tensor alone = model->embed(ids_tensor(text));
  EXPECT_LT(
      max_error(model->embed(ids_tensor(padded), mask_of({1, 1, 1, 1, 1, 1, 0, 0, 0})), alone),
      1e-6);
  EXPECT_LT(max_error(model->embed(ids_tensor(text), mask_of({1, 1, 1, 1, 1, 1})), alone), 1e-6);
  EXPECT_GT(max_error(model->embed(ids_tensor(padded)), alone), 1e-3);
}

TEST_F(TextEncoderTest, EmbeddingsHaveLengthOneUnlessTheFolderSaysOtherwise) {
  const Tensor ids = ids_tensor(some_ids(6));
  const auto length = [](const std::vector<float>& values) {
    double squares = 0;
    for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
    return std::sqrt(squares);
  };
  const auto silent = TextEncoder::load(folder());
  EXPECT_TRUE(silent->normalizes());
  const std::vector<float> unit = floats(silent->embed(ids));
  EXPECT_NEAR(length(unit), 1, 1e-6);

  pooling(kModulesNormalized, kMean);
  EXPECT_TRUE(TextEncoder::load(folder())->normalizes());

  pooling(kModules, kMean);
  const auto plain = TextEncoder::load(folder());
  EXPECT_FALSE(plain->normalizes());
  std::vector<float> mean = floats(plain->embed(ids));
  EXPECT_GT(std::abs(length(mean) - 1), 0.1);
  const std::vector<float> states = floats(plain->hidden(ids));
  for (std::size_t d = 0; d < 64; ++d) {
    double sum = 0;
    for (std::size_t t = 0; t < 6; ++t) sum += static_cast<double>(states[t * 64 + d]);
    EXPECT_NEAR(mean[d], sum / 6, 1e-5);
  }
}

TEST_F(TextEncoderTest, OtherPoolingIsRefused) {
  pooling(kModules, R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})");
  EXPECT_EQ(load_error(),
            "unsupported: load_model: model/1_Pooling/config.json: pooling must be the mean "
            "(pooling_mode_mean_tokens)");
  pooling(kModules, R"({"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": true})");
  EXPECT_TRUE(has(load_error(), "must be the mean alone, not pooling_mode_max_tokens too"));
  pooling(kModules, R"({"pooling_mode_mean_tokens": 1})");
  EXPECT_TRUE(has(load_error(), "pooling_mode_mean_tokens: must be true or false"));
  pooling(R"([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])", kMean);
  EXPECT_TRUE(has(load_error(), R"(module "sentence_transformers.models.Dense" is not known)"));
  pooling(kModules, kMean);
  std::filesystem::remove(folder() / "1_Pooling/config.json");
  EXPECT_TRUE(has(load_error(), "io: ")) << load_error();
}

TEST_F(TextEncoderTest, RefusesInputsThatAreNone) {
  const auto model = TextEncoder::load(folder());
  EXPECT_TRUE(has(error_of([&] { model->embed(ids_tensor(some_ids(65))); }),
                  "argument: hidden: 65 tokens are more than max_position_embeddings, 64"));
  EXPECT_NO_THROW(model->embed(ids_tensor(some_ids(64))));
  EXPECT_TRUE(has(error_of([&] { model->embed(Tensor::zeros({3}, DType::kI32)); }),
                  "ids must be [B,T], got [3]"));
  EXPECT_TRUE(has(error_of([&] { model->embed(ids_tensor({320})); }), "320"));
  EXPECT_TRUE(
      has(error_of([&] { model->embed(ids_tensor({1, 2}), mask_of({1})); }), "key_mask must be"));
}

TEST_F(TextEncoderTest, AHiddenTextIsZero) {
  const auto model = TextEncoder::load(folder());
  const std::vector<float> embedding =
      floats(model->embed(ids_tensor({1, 2, 3, 4}, 2), mask_of({0, 0, 1, 1}, 2)));
  for (std::size_t d = 0; d < 64; ++d) EXPECT_EQ(embedding[d], 0);
  EXPECT_LT(max_error({embedding.begin() + 64, embedding.end()},
                      floats(model->embed(ids_tensor({3, 4})))),
            1e-6);
}

TEST_F(TextEncoderTest, OldNamesPrefixesAndHeadsAreKnown) {
  const Tensor ids = ids_tensor(some_ids(6));
  const auto expected = floats(TextEncoder::load(folder())->embed(ids));
  edit_tensors(folder() / "model.safetensors", [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name.ends_with("LayerNorm.weight")) name.replace(name.size() - 6, 6, "gamma");
      if (name.ends_with("LayerNorm.bias")) name.replace(name.size() - 4, 4, "beta");
      name = "bert." + name;
    }
    tensors.emplace_back("cls.predictions.bias", Tensor::zeros({320}, DType::kF32));
    tensors.emplace_back("bert.embeddings.position_ids", Tensor::zeros({1, 64}, DType::kI64));
  });
  EXPECT_EQ(floats(TextEncoder::load(folder())->embed(ids)), expected);
  edit_tensors(folder() / "model.safetensors", [](NamedTensors& tensors) {
    tensors.emplace_back("classifier.weight", Tensor::zeros({2, 64}, DType::kF32));
  });
  EXPECT_TRUE(has(load_error(), "has no place for tensor classifier.weight"));
}

TEST_F(TextEncoderTest, HalfPrecisionIsClose) {
  const Tensor ids = ids_tensor(some_ids(6));
  const Tensor exact = TextEncoder::load(folder())->embed(ids);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const auto half = TextEncoder::load(folder(), {.dtype = dtype});
    EXPECT_LT(max_error(half->embed(ids), exact), dtype == DType::kF16 ? 2e-3 : 2e-2);
  }
}

TEST_F(TextEncoderTest, TakesAdaptersAndSavesThemMerged) {
  pooling(kModules, kMean);
  write_text(folder() / "vocab.txt", "[PAD]");
  const auto model = TextEncoder::load(folder());
  const auto adapter = LoraAdapter::create({.r = 2}, model->lora_host(), 1);
  ASSERT_EQ(adapter->layers().size(), 4U);  // query and value of two layers
  for (const auto& [path, layer] : adapter->layers()) {
    copy_(layer->b, random_normal(layer->b.shape(), DType::kF32, {.seed = 9}, 0, 0.5));
  }
  const Tensor ids = ids_tensor(some_ids(6));
  const Tensor before = model->embed(ids);
  model->add_adapter("new", adapter);
  model->set_active_adapters({{"new"}});
  const Tensor expected = model->embed(ids);
  EXPECT_GT(max_error(expected, before), 1e-3);
  model->save_merged(folder_ / "out");
  const auto again = TextEncoder::load(folder_ / "out");
  EXPECT_FALSE(again->normalizes());
  EXPECT_LT(max_error(again->embed(ids), expected), 1e-4);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/vocab.txt"));
}

}  // namespace

}  // namespace wick::test

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "models/model_support.hpp"
#include "wick/models/text_encoder.hpp"

namespace wick::test {

namespace {

const std::string kQ1 = "model.layers.1.self_attn.q_proj.weight";

// A copy of a model that a test may break.
class Loading : public testing::Test {
 protected:
  void copy(const std::string& name) { copy_model(fixture(name), folder()); }
  std::filesystem::path folder() const { return folder_ / "model"; }
  std::filesystem::path weights() const { return folder() / "model.safetensors"; }
  std::string load_error() const {
    return error_of([&] { CausalLm::load(folder()); }, folder_.path());
  }

  TempFolder folder_;
};

TEST_F(Loading, NamesATensorThatIsMissing) {
  copy("qwen2-tied");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first == kQ1; });
  });
  EXPECT_EQ(load_error(), "argument: load_model: model: tensor " + kQ1 +
                              " is missing; the configuration asks for it");
}

TEST_F(Loading, NamesTensorsThatAreTooMany) {
  copy("qwen2-tied");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    tensors.emplace_back("model.layers.3.input_layernorm.weight", Tensor::zeros({64}, DType::kF32));
  });
  EXPECT_EQ(load_error(),
            "argument: load_model: model/model.safetensors: the configuration has no place for "
            "tensor model.layers.3.input_layernorm.weight");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    for (int i = 0; i < 9; ++i) {
      tensors.emplace_back("x" + std::to_string(i), Tensor::zeros({1}, DType::kF32));
    }
  });
  EXPECT_TRUE(has(load_error(), ", x0, x1, x2, x3 and 5 more")) << load_error();
}

TEST_F(Loading, NamesATensorOfAnotherShapeOrType) {
  copy("qwen2-tied");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    tensor_named(tensors, kQ1) = Tensor::zeros({64, 65}, DType::kF32);
  });
  EXPECT_EQ(load_error(), "shape: load_model: model/model.safetensors: tensor " + kQ1 +
                              " must be [64,64] by the configuration, the file has [64,65]");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    tensor_named(tensors, kQ1) = Tensor::zeros({64, 64}, DType::kI32);
  });
  EXPECT_TRUE(has(load_error(), kQ1 + " must be f32, f16 or bf16, the file has i32"));
}

TEST_F(Loading, AConfigurationOfAnotherSizeDoesNotFit) {
  copy("qwen2-tied");
  edit_json(folder() / "config.json", [](detail::Json& json) { json["intermediate_size"] = 100; });
  EXPECT_TRUE(has(load_error(), "gate_proj.weight must be [100,64]")) << load_error();
}

TEST_F(Loading, NamesBrokenAndMissingFiles) {
  copy("qwen2-tied");
  std::filesystem::resize_file(weights(), std::filesystem::file_size(weights()) - 4);
  EXPECT_TRUE(has(load_error(), "parse: model/model.safetensors")) << load_error();
  std::filesystem::remove(weights());
  EXPECT_TRUE(load_error().starts_with("io: ")) << load_error();
  EXPECT_TRUE(has(error_of([&] { CausalLm::load(folder_ / "nothing"); }), "nothing/config.json"));
}

TEST_F(Loading, ShardsMakeOneModel) {
  copy("llama-sharded-bf16");
  const auto sharded = CausalLm::load(folder());
  NamedTensors all;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".safetensors") continue;
    for (auto& tensor : read_all(entry.path())) all.push_back(std::move(tensor));
  }
  copy_model(fixture("llama-sharded-bf16"), folder_ / "single");
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "single")) {
    if (has(entry.path().filename().string(), "safetensors")) std::filesystem::remove(entry.path());
  }
  save_safetensors(folder_ / "single/model.safetensors", all);
  const auto single = CausalLm::load(folder_ / "single");
  const Tensor ids = ids_tensor(some_ids(9));
  EXPECT_EQ(floats(logits_of(*sharded, ids)), floats(logits_of(*single, ids)));
  std::filesystem::remove(folder() / "model-00002-of-00004.safetensors");
  EXPECT_TRUE(has(load_error(), "model-00002-of-00004.safetensors")) << load_error();
}

TEST_F(Loading, ATiedHeadMayBeStoredOrNot) {
  copy("qwen2-tied");
  const auto plain = CausalLm::load(folder());
  edit_tensors(weights(), [](NamedTensors& tensors) {
    tensors.emplace_back("lm_head.weight", tensor_named(tensors, "model.embed_tokens.weight"));
  });
  const auto stored = CausalLm::load(folder());
  const Tensor ids = ids_tensor(some_ids(9));
  EXPECT_EQ(floats(logits_of(*plain, ids)), floats(logits_of(*stored, ids)));
  EXPECT_EQ(stored->num_bytes(), plain->num_bytes());
  EXPECT_TRUE(plain->find_linear("lm_head")->weight().shares_storage_with(
      plain->parameters().front().second));
  // Untied, it must be there.
  edit_json(folder() / "config.json",
            [](detail::Json& json) { json["tie_word_embeddings"] = false; });
  EXPECT_EQ(load_error(), "no error");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    std::erase_if(tensors, [](const auto& entry) { return entry.first == "lm_head.weight"; });
  });
  EXPECT_TRUE(has(load_error(), "tensor lm_head.weight is missing"));
}

TEST_F(Loading, RotaryBuffersOfOldCheckpointsAreIgnored) {
  copy("llama3-rope-scaled");
  edit_tensors(weights(), [](NamedTensors& tensors) {
    tensors.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq",
                         Tensor::zeros({8}, DType::kF32));
  });
  EXPECT_EQ(load_error(), "no error");
}

TEST_F(Loading, WeightsStayAsTheyAreStored) {
  const auto model = CausalLm::load(fixture("llama-sharded-bf16"));
  for (const auto& [name, tensor] : model->parameters()) {
    EXPECT_EQ(tensor.dtype(), DType::kBF16) << name;
  }
  EXPECT_EQ(model->num_bytes(), 2 * model->num_parameters());
}

TEST_F(Loading, ConvertsWhatIsAskedFor) {
  const Tensor ids = ids_tensor(some_ids(12));
  const auto exact = CausalLm::load(fixture("llama-sharded-bf16"));
  const auto wide = CausalLm::load(fixture("llama-sharded-bf16"), {.dtype = DType::kF32});
  for (const auto& [name, tensor] : wide->parameters()) EXPECT_EQ(tensor.dtype(), DType::kF32);
  // bf16 weights are computed with in f32: widening changes rounding errors alone.
  EXPECT_LT(max_error(logits_of(*wide, ids), logits_of(*exact, ids)), 1e-4);
  const auto full = CausalLm::load(fixture("qwen2-tied"));
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const auto half = CausalLm::load(fixture("qwen2-tied"), {.dtype = dtype});
    EXPECT_EQ(half->num_bytes(), full->num_bytes() / 2);
    const double error = max_error(logits_of(*half, ids), logits_of(*full, ids));
    EXPECT_GT(error, 0);
    EXPECT_LT(error, dtype == DType::kBF16 ? 0.5 : 0.05);
  }
}

// The format does not ask for aligned data: a header of an odd length shifts all of it.
TEST_F(Loading, WeightsAtOddAddressesAreCopiedOnce) {
  copy("qwen2-tied");
  const auto expected = logits_of(*CausalLm::load(folder()), ids_tensor(some_ids(9)));
  std::string bytes = detail::read_text_file(weights());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  bytes.insert(8 + length, " ");
  ++length;
  std::memcpy(bytes.data(), &length, sizeof(length));
  write_text(weights(), bytes);
  const auto model = CausalLm::load(folder());
  EXPECT_EQ(floats(logits_of(*model, ids_tensor(some_ids(9)))), floats(expected));
}

TEST_F(Loading, TheOtherFamilyIsRefused) {
  EXPECT_TRUE(has(error_of([] { CausalLm::load(fixture("bert-mean")); }),
                  "model_type \"bert\" is an encoder and does not generate text"));
  EXPECT_TRUE(has(error_of([] { TextEncoder::load(fixture("qwen2-tied")); }),
                  "model_type \"qwen2\" is not an encoder"));
  const ModelConfig bert = load_model_config(fixture("bert-mean"));
  EXPECT_TRUE(has(error_of([&] { CausalLm::create(bert, 1); }), "is not a decoder"));
}

TEST_F(Loading, OnlyF32WeightsAreTrained) {
  const auto half = CausalLm::load(fixture("llama-sharded-bf16"));
  EXPECT_TRUE(has(error_of([&] { half->set_trainable(true); }),
                  "dtype: set_trainable: model.embed_tokens.weight is bf16"));
  for (const auto& [name, tensor] : half->parameters()) EXPECT_FALSE(tensor.requires_grad());
}

}  // namespace

}  // namespace wick::test

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_support.hpp"
#include "wick/ops/random.hpp"

namespace wick::test {

namespace {

using detail::Json;

Json config_in(const std::filesystem::path& folder) {
  return detail::read_json_file(folder / "config.json");
}

std::vector<std::string> files_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class SavedModel : public testing::TestWithParam<std::string> {
 protected:
  TempFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(Models, SavedModel,
                         testing::Values("llama-sharded-bf16", "llama3-rope-scaled",
                                         "mistral-sliding", "qwen2-tied", "qwen3-qknorm"));

TEST_P(SavedModel, LoadsAgainAndComputesTheSame) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const Tensor ids = ids_tensor(some_ids(16), 2);
  const auto expected = floats(logits_of(*model, ids));
  model->save_merged(folder_ / "out");
  const auto again = CausalLm::load(folder_ / "out");
  EXPECT_EQ(floats(logits_of(*again, ids)), expected);
  EXPECT_EQ(again->num_bytes(), model->num_bytes());
  EXPECT_EQ(again->config().eos_token_ids, model->config().eos_token_ids);
  EXPECT_EQ(again->config().dtype, model->config().dtype);
  EXPECT_EQ(
      files_in(folder_ / "out"),
      (std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors"}));
}

TEST_P(SavedModel, HoldsTheMergedAdapters) {
  const auto model = CausalLm::load(fixture(GetParam()), {.dtype = DType::kF32});
  model->load_adapter("default", fixture(GetParam()) / "adapters/lora-all");
  model->set_active_adapters({{"default", 0.5}});
  const Tensor ids = ids_tensor(some_ids(16), 2);
  const Tensor expected = logits_of(*model, ids);
  model->save_merged(folder_ / "out");
  const auto again = CausalLm::load(folder_ / "out");
  EXPECT_TRUE(again->adapters().empty());
  EXPECT_LT(max_error(logits_of(*again, ids), expected), 2e-4);
  EXPECT_EQ(again->config().dtype, "float32");
  // The model itself is as before; saved while merged, it is the same file and not merged twice.
  EXPECT_EQ(floats(logits_of(*model, ids)), floats(expected));
  model->merge_adapters();
  model->save_merged(folder_ / "merged");
  EXPECT_EQ(detail::read_text_file(folder_ / "merged/model.safetensors"),
            detail::read_text_file(folder_ / "out/model.safetensors"));
}

TEST_P(SavedModel, ConvertsToAnotherDtype) {
  const auto model = CausalLm::load(fixture(GetParam()));
  for (const auto& [dtype, word] :
       {std::pair{DType::kF16, "float16"}, std::pair{DType::kBF16, "bfloat16"},
        std::pair{DType::kF32, "float32"}}) {
    const auto path = folder_ / word;
    model->save_merged(path, dtype);
    const auto again = CausalLm::load(path);
    for (const auto& [name, tensor] : again->parameters()) EXPECT_EQ(tensor.dtype(), dtype) << name;
    EXPECT_EQ(again->config().dtype, word);
    EXPECT_EQ(config_in(path)["dtype"], word);
  }
}

TEST_P(SavedModel, IsCutIntoShards) {
  const auto model = CausalLm::load(fixture(GetParam()));
  const Tensor ids = ids_tensor(some_ids(16), 2);
  model->save_merged(folder_ / "out", {}, 60'000);
  const Json index = detail::read_json_file(folder_ / "out/model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], model->num_bytes());
  EXPECT_EQ(index["weight_map"].size(), model->parameters().size());
  const std::string first = index["weight_map"]["model.embed_tokens.weight"];
  EXPECT_TRUE(has(first, "model-00001-of-000"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/model.safetensors"));
  std::int64_t bytes = 0;
  const Weights weights = Weights::open(folder_ / "out");
  for (const auto& file : weights.files()) {
    std::int64_t in_file = 0;
    for (const auto& [name, info] : file.tensors())
      in_file += static_cast<std::int64_t>(info.num_bytes);
    EXPECT_TRUE(in_file <= 60'000 || file.tensors().size() == 1);
    EXPECT_EQ(file.metadata().at("format"), "pt");
    bytes += in_file;
  }
  EXPECT_EQ(bytes, model->num_bytes());
  EXPECT_EQ(floats(logits_of(*CausalLm::load(folder_ / "out"), ids)),
            floats(logits_of(*model, ids)));
}

class SaveModel : public testing::Test {
 protected:
  TempFolder folder_;
};

TEST_F(SaveModel, TokenizerFilesTravelAlong) {
  copy_model(fixture("qwen2-tied"), folder_ / "in");
  for (const std::string name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
        "vocab.json", "merges.txt"}) {
    write_text(folder_ / "in" / name, "content of " + name);
  }
  const std::string binary("\0\xff\n\r\0", 5);
  write_text(folder_ / "in/tokenizer.model", binary);
  write_text(folder_ / "in/notes.txt", "stays");
  CausalLm::load(folder_ / "in")->save_merged(folder_ / "out");
  EXPECT_EQ(files_in(folder_ / "out"),
            (std::vector<std::string>{"chat_template.jinja", "config.json",
                                      "generation_config.json", "merges.txt", "model.safetensors",
                                      "special_tokens_map.json", "tokenizer.json",
                                      "tokenizer.model", "tokenizer_config.json", "vocab.json"}));
  EXPECT_EQ(detail::read_text_file(folder_ / "out/tokenizer.model"), binary);
  EXPECT_EQ(detail::read_text_file(folder_ / "out/merges.txt"), "content of merges.txt");
}

TEST_F(SaveModel, TheConfigurationKeepsItsOtherKeys) {
  copy_model(fixture("qwen2-tied"), folder_ / "in");
  edit_json(folder_ / "in/config.json", [](Json& json) {
    json["house_key"] = {1, "two"};
    json.erase("dtype");
  });
  const auto model = CausalLm::load(folder_ / "in", {.dtype = DType::kBF16});
  model->save_merged(folder_ / "out");
  EXPECT_EQ(config_in(folder_ / "out")["house_key"], Json({1, "two"}));
  EXPECT_EQ(config_in(folder_ / "out")["torch_dtype"], "bfloat16");
  EXPECT_EQ(config_in(folder_ / "out")["tie_word_embeddings"], true);
}

TEST_F(SaveModel, AnAdapterOnATiedHeadMakesAHeadOfItsOwn) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  const LoraConfig config{.r = 2, .target_modules = {.suffixes = {"lm_head", "q_proj"}}};
  const auto adapter = LoraAdapter::create(config, model->lora_host(), 1);
  for (const auto& [path, layer] : adapter->layers()) {
    copy_(layer->b, random_normal(layer->b.shape(), DType::kF32, {.seed = 9}, 0, 0.5));
  }
  model->add_adapter("head", adapter);
  model->set_active_adapters({{"head"}});
  const Tensor ids = ids_tensor(some_ids(10));
  const Tensor expected = logits_of(*model, ids);
  for (const bool merged : {false, true}) {
    if (merged) model->merge_adapters();
    const auto path = folder_ / (merged ? "merged" : "open");
    model->save_merged(path);
    EXPECT_EQ(config_in(path)["tie_word_embeddings"], false);
    const auto again = CausalLm::load(path);
    EXPECT_LT(max_error(logits_of(*again, ids), expected), 2e-4);
    EXPECT_EQ(floats(again->parameters().front().second),
              floats(model->parameters().front().second));
  }
}

TEST_F(SaveModel, OverwritesNothing) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  std::filesystem::create_directories(folder_ / "out");
  write_text(folder_ / "out/precious.txt", "x");
  const std::string error = error_of([&] { model->save_merged(folder_ / "out"); }, folder_.path());
  EXPECT_TRUE(has(error, "argument: save_model: out exists and is not an empty folder")) << error;
  EXPECT_EQ(files_in(folder_ / "out"), (std::vector<std::string>{"precious.txt"}));
  write_text(folder_ / "file", "x");
  EXPECT_TRUE(has(error_of([&] { model->save_merged(folder_ / "file"); }), "not an empty folder"));
  EXPECT_EQ(detail::read_text_file(folder_ / "file"), "x");
}

TEST_F(SaveModel, AnEmptyFolderIsFilled) {
  std::filesystem::create_directories(folder_ / "out");
  CausalLm::load(fixture("qwen2-tied"))->save_merged(folder_ / "out");
  EXPECT_NO_THROW(CausalLm::load(folder_ / "out"));
  EXPECT_EQ(files_in(folder_.path()), (std::vector<std::string>{"out"}));
}

TEST_F(SaveModel, AFailureLeavesNothing) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  write_text(folder_ / "file", "x");
  EXPECT_TRUE(has(error_of([&] { model->save_merged(folder_ / "file/out"); }), "io: "));
  EXPECT_EQ(files_in(folder_.path()), (std::vector<std::string>{"file"}));
}

TEST_F(SaveModel, FilesAreWrittenBesideOthers) {
  const auto model = CausalLm::load(fixture("qwen2-tied"));
  write_text(folder_ / "metrics.jsonl", "{}");
  model->write_files(folder_.path());
  model->write_files(folder_.path());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "metrics.jsonl"));
  const Tensor ids = ids_tensor(some_ids(6));
  EXPECT_EQ(floats(logits_of(*CausalLm::load(folder_.path()), ids)),
            floats(logits_of(*model, ids)));
}

TEST_F(SaveModel, ANewModelIsSavedWithItsDescription) {
  ModelConfig config = load_model_config(fixture("qwen3-qknorm"));
  config.json.clear();
  const auto model = CausalLm::create(config, 5);
  model->save_merged(folder_ / "out", DType::kBF16);
  const auto again = CausalLm::load(folder_ / "out");
  EXPECT_EQ(again->config().dtype, "bfloat16");
  const Tensor ids = ids_tensor(some_ids(6));
  EXPECT_LT(max_error(logits_of(*again, ids), logits_of(*model, ids)), 0.2);
}

}  // namespace

}  // namespace wick::test

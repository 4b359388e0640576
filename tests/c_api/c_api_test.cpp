#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "c_api/c_program.h"
#include "generate/support.hpp"
#include "wick/wick.h"

namespace wick {

namespace {

// A small model with a tokenizer on disk, and room for what a test writes.
class CApi : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = std::filesystem::path(::testing::TempDir()) /
            ("wick-c-api-" + std::to_string(::getpid()) + "-" + test->name());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "model");
    const ModelConfig config = parse_model_config(
        R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257,
            "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
            "initializer_range": 0.1, "eos_token_id": 256})");
    CausalLm::create(config, 3)->write_files(root_ / "model");
    std::ofstream(root_ / "model/tokenizer.json") << test::byte_tokenizer_json({}, {"<end>"});
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string model_folder() const { return (root_ / "model").string(); }
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }
  // A copy of the model's folder without one of its files.
  std::string copy_without(const std::string& file) const {
    std::filesystem::copy(root_ / "model", root_ / "copy");
    std::filesystem::remove(root_ / "copy" / file);
    return path("copy");
  }

 private:
  std::filesystem::path root_;
};

// What a part of the program in C said; nothing is good.
std::string text_of(const char* failure) { return failure == nullptr ? "" : failure; }

TEST_F(CApi, TrainsSavesAndLoads) {
  EXPECT_EQ(text_of(c_trains_saves_and_loads(model_folder().c_str(), path("saved").c_str())), "");
  EXPECT_TRUE(std::filesystem::exists(path("saved") + "/adapter_config.json"));
  EXPECT_TRUE(std::filesystem::exists(path("saved") + "/adapter_model.safetensors"));
}

TEST_F(CApi, StreamsAndCancels) {
  EXPECT_EQ(text_of(c_streams_and_cancels(model_folder().c_str())), "");
}

TEST_F(CApi, FreesInAnyOrder) {
  EXPECT_EQ(text_of(c_frees_in_any_order(model_folder().c_str())), "");
}

TEST_F(CApi, RefusesNull) { EXPECT_EQ(text_of(c_refuses_null(model_folder().c_str())), ""); }

TEST_F(CApi, RefusesArguments) {
  EXPECT_EQ(text_of(c_refuses_arguments(model_folder().c_str())), "");
}

TEST_F(CApi, AFolderThatIsNoModelIsRefusedByKind) {
  wick_model* model = nullptr;
  const auto expect = [&](const std::string& folder, wick_status status, const std::string& text) {
    EXPECT_EQ(wick_model_load(folder.c_str(), &model), status) << wick_last_error();
    EXPECT_NE(std::string(wick_last_error()).find(text), std::string::npos) << wick_last_error();
    EXPECT_EQ(model, nullptr);
  };
  expect(path("absent"), WICK_ERROR_IO, "absent");
  expect(copy_without("tokenizer.json"), WICK_ERROR_IO, "tokenizer.json");
  write("copy/tokenizer.json", "{\"version\": ");
  expect(path("copy"), WICK_ERROR_PARSE, "tokenizer.json");
  write("copy/tokenizer.json", test::byte_tokenizer_json({}, {"<end>"}));
  write("copy/config.json", R"({"model_type": "mamba"})");
  expect(path("copy"), WICK_ERROR_UNSUPPORTED, "mamba");
  write("copy/config.json", "[]");
  expect(path("copy"), WICK_ERROR_PARSE, "config.json");
}

TEST_F(CApi, AnAdapterOfAnotherModelIsRefusedByKind) {
  wick_model* model = nullptr;
  ASSERT_EQ(wick_model_load(model_folder().c_str(), &model), WICK_OK) << wick_last_error();
  const std::string other =
      (test::fixture_model("llama3-rope-scaled") / "adapters" / "lora").string();
  EXPECT_EQ(wick_adapter_load(model, "other", other.c_str()), WICK_ERROR_SHAPE)
      << wick_last_error();
  EXPECT_NE(std::string(wick_last_error()).find("lora_A"), std::string::npos) << wick_last_error();
  EXPECT_EQ(wick_adapter_activate(model, "other"), WICK_ERROR_ARGUMENT);
  write("broken/adapter_config.json", "{");
  EXPECT_EQ(wick_adapter_load(model, "broken", path("broken").c_str()), WICK_ERROR_PARSE);
  wick_model_free(model);
}

TEST_F(CApi, NoExceptionComesThrough) {
  wick_model* model = nullptr;
  ASSERT_EQ(wick_model_load(model_folder().c_str(), &model), WICK_OK) << wick_last_error();
  const wick_generate_options options = wick_generate_defaults();
  const auto throwing = [](const char*, void*) -> int { throw std::runtime_error("no paper"); };
  EXPECT_EQ(wick_generate(model, "the", &options, throwing, nullptr), WICK_ERROR_INTERNAL);
  EXPECT_STREQ(wick_last_error(), "no paper");
  const auto odd = [](const char*, void*) -> int { throw 7; };
  EXPECT_EQ(wick_generate(model, "the", &options, odd, nullptr), WICK_ERROR_INTERNAL);
  EXPECT_NE(std::string(wick_last_error()), "no paper");
  wick_model_free(model);
}

TEST_F(CApi, EachThreadHasItsOwnMessage) {
  EXPECT_EQ(wick_adapter_activate(nullptr, nullptr), WICK_ERROR_ARGUMENT);
  const std::string here = wick_last_error();
  EXPECT_NE(here, "");
  std::thread([&] {
    EXPECT_STREQ(wick_last_error(), "");
    EXPECT_EQ(wick_model_load(path("absent").c_str(), nullptr), WICK_ERROR_ARGUMENT);
    EXPECT_NE(std::string(wick_last_error()), here);
  }).join();
  EXPECT_EQ(wick_last_error(), here);
}

TEST_F(CApi, KnowsItsVersion) { EXPECT_STREQ(wick_version(), WICK_TEST_VERSION); }

}  // namespace

}  // namespace wick

// The weights of a folder: one file, or shards with an index.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "harness/expect_error.hpp"
#include "io/io_support.hpp"
#include "wick/io/safetensors.hpp"

namespace wick::test {

namespace {

using nlohmann::json;

Tensor value(float number) { return Tensor::from_values(std::vector<float>{number}, Shape{1}); }

void write_index(const TempFolder& folder, const json& weight_map) {
  folder.write("model.safetensors.index.json",
               json{{"metadata", {{"total_size", 8}}}, {"weight_map", weight_map}}.dump());
}

// Two shards with one tensor each.
void write_shards(const TempFolder& folder) {
  save_safetensors(folder.path() / "one.safetensors", {{"a", value(1)}});
  save_safetensors(folder.path() / "two.safetensors", {{"b", value(2)}});
}

void refused(const TempFolder& folder, ErrorKind kind, const std::vector<std::string>& parts) {
  expect_error(kind, parts, [&] { Weights::open(folder.path()); });
}

TEST(Weights, OneFileOrItsFolder) {
  const TempFolder folder;
  save_safetensors(folder.path() / "model.safetensors", {{"b", value(2)}, {"a", value(1)}});
  for (const auto& path : {folder.path(), folder.path() / "model.safetensors"}) {
    const Weights weights = Weights::open(path);
    EXPECT_EQ(weights.names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(weights.num_bytes(), 8U);
    EXPECT_EQ(weights.files().size(), 1U);
    EXPECT_EQ(weights.tensor("b").item<float>(), 2);
    EXPECT_EQ(weights.file_of("a").filename(), "model.safetensors");
    EXPECT_EQ(weights.info("a").dtype, "F32");
    EXPECT_FALSE(weights.contains("c"));
    expect_error(ErrorKind::kArgument, {"model.safetensors", "\"c\""},
                 [&] { weights.tensor("c"); });
    expect_error(ErrorKind::kArgument, {"\"c\""}, [&] { weights.info("c"); });
    expect_error(ErrorKind::kArgument, {"\"c\""}, [&] { weights.file_of("c"); });
  }
}

TEST(Weights, Shards) {
  const TempFolder folder;
  write_shards(folder);
  write_index(folder, {{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  const Weights weights = Weights::open(folder.path());
  EXPECT_EQ(weights.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(weights.tensor("a").item<float>(), 1);
  EXPECT_EQ(weights.tensor("b").item<float>(), 2);
  EXPECT_EQ(weights.file_of("b").filename(), "two.safetensors");
  EXPECT_EQ(weights.num_bytes(), 8U);
}

TEST(Weights, TheShardedFixtureIsWhole) {
  const Weights weights =
      Weights::open(std::filesystem::path(WICK_TEST_FIXTURES) / "models/llama-sharded-bf16");
  EXPECT_EQ(weights.files().size(), 4U);
  EXPECT_TRUE(weights.contains("model.embed_tokens.weight"));
  EXPECT_EQ(weights.info("model.norm.weight").dtype, "BF16");
}

TEST(Weights, NothingThere) {
  const TempFolder folder;
  refused(folder, ErrorKind::kIo, {"model.safetensors", "model.safetensors.index.json"});
  folder.write("pytorch_model.bin", "x");
  refused(folder, ErrorKind::kIo, {"pytorch_model.bin", "PyTorch"});
  folder.write("model.gguf", "x");
  refused(folder, ErrorKind::kIo, {"model.gguf"});
  expect_error(ErrorKind::kIo, {"/no/such/place"}, [] { Weights::open("/no/such/place"); });
}

TEST(Weights, IndexesThatDoNotFitTheirShards) {
  const TempFolder folder;
  write_shards(folder);
  write_index(folder, {{"a", "one.safetensors"}, {"b", "three.safetensors"}});
  refused(folder, ErrorKind::kParse, {"index.json", "\"three.safetensors\"", "does not exist"});
  write_index(folder, {{"a", "one.safetensors"}, {"c", "two.safetensors"}});
  refused(folder, ErrorKind::kParse, {"index.json", "two.safetensors has tensor \"c\""});
  write_index(folder, {{"a", "two.safetensors"}, {"b", "one.safetensors"}});
  refused(folder, ErrorKind::kParse, {"index.json", "two.safetensors has tensor \"a\""});
  save_safetensors(folder.path() / "two.safetensors", {{"b", value(2)}, {"c", value(3)}});
  write_index(folder, {{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  refused(folder, ErrorKind::kParse,
          {"index.json", "does not name tensor \"c\" of two.safetensors"});
  save_safetensors(folder.path() / "two.safetensors", {{"b", value(2)}, {"a", value(3)}});
  refused(folder, ErrorKind::kParse, {"two.safetensors", "\"a\"", "one.safetensors"});
}

TEST(Weights, BrokenIndexes) {
  const TempFolder folder;
  write_shards(folder);
  const auto broken = [&](const std::string& text, const std::string& part) {
    folder.write("model.safetensors.index.json", text);
    refused(folder, ErrorKind::kParse, {"model.safetensors.index.json", part});
  };
  broken("", "byte 0");
  broken("[]", "object");
  broken("{}", "weight_map");
  broken(R"({"weight_map":[]})", "must be an object");
  broken(R"({"weight_map":{}})", "names no tensor");
  broken(R"({"weight_map":{"a":1}})", "\"a\"");
  broken(R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})", "twice");
  broken(R"({"weight_map":{"a":""}})", "same folder");
  broken(R"({"weight_map":{"a":"../one.safetensors"}})", "same folder");
  broken(R"({"weight_map":{"a":"/etc/passwd"}})", "same folder");
  broken(std::string(10'000, '['), "deep");
}

TEST(Weights, ABrokenShardIsNamed) {
  const TempFolder folder;
  write_shards(folder);
  write_index(folder, {{"a", "one.safetensors"}, {"b", "two.safetensors"}});
  const std::string whole = read_file(folder.path() / "two.safetensors");
  folder.write("two.safetensors", whole.substr(0, whole.size() - 1));
  refused(folder, ErrorKind::kParse, {"two.safetensors", "\"b\"", "cut short"});
}

}  // namespace

}  // namespace wick::test

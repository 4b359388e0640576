#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/platform.hpp"
#include "models/model_support.hpp"
#include "wick/runtime/memory.hpp"

namespace wick {

namespace {

constexpr std::int64_t kGigabyte = 1'000'000'000;

// Tokens are cheap and layers few, so that one pass costs little though the file is large.
const detail::Json kConfig{{"model_type", "llama"},         {"architectures", {"LlamaForCausalLM"}},
                           {"vocab_size", 65536},           {"hidden_size", 4096},
                           {"intermediate_size", 4096},     {"num_hidden_layers", 1},
                           {"num_attention_heads", 32},     {"num_key_value_heads", 8},
                           {"max_position_embeddings", 64}, {"tie_word_embeddings", true}};

// A checkpoint of zeros: a header, and a hole for the data.
std::int64_t write_sparse_checkpoint(const std::filesystem::path& folder, const std::string& dtype,
                                     std::int64_t size_of_element) {
  test::write_text(folder / "config.json", kConfig.dump());
  detail::Json header = detail::Json::object();
  std::int64_t end = 0;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    std::int64_t bytes = size_of_element;
    for (const std::int64_t size : shape) bytes *= size;
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  add("model.embed_tokens.weight", {65536, 4096});
  add("model.norm.weight", {4096});
  const std::string layer = "model.layers.0.";
  add(layer + "input_layernorm.weight", {4096});
  add(layer + "post_attention_layernorm.weight", {4096});
  for (const std::string name :
       {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    add(layer + name + ".weight", {4096, 4096});
  }
  for (const std::string name : {"self_attn.k_proj", "self_attn.v_proj"}) {
    add(layer + name + ".weight", {1024, 4096});
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  test::write_text(folder / "model.safetensors", length + text);
  std::filesystem::resize_file(folder / "model.safetensors",
                               8 + text.size() + static_cast<std::uintmax_t>(end));
  return end;
}

// Runs first: the peak of a process never falls.
TEST(LargeModel, LoadsAsItIsStoredWithoutACopy) {
  const test::TempFolder folder;
  const std::int64_t bytes = write_sparse_checkpoint(folder.path(), "F32", 4);
  ASSERT_GT(bytes, kGigabyte);
  const std::int64_t before = detail::peak_memory_bytes();
  const auto model = CausalLm::load(folder.path());
  EXPECT_EQ(model->num_bytes(), bytes);
  // Nothing was read yet, and nothing is held twice: neither the tied head nor anything else.
  EXPECT_LT(detail::peak_memory_bytes() - before, kGigabyte / 50);
  EXPECT_LT(memory_stats(kCpuDevice).peak_bytes, kGigabyte / 50);

  const NoGradGuard no_gradient;
  const Tensor logits = model->logits(model->hidden(test::ids_tensor({1, 2, 65535})));
  EXPECT_EQ(logits.shape(), (Shape{1, 3, 65536}));
  for (const float value : test::floats(logits)) ASSERT_EQ(value, 0);
  EXPECT_LT(detail::peak_memory_bytes(), 2 * kGigabyte);
  EXPECT_LT(memory_stats(kCpuDevice).peak_bytes, kGigabyte / 50);
}

TEST(LargeModel, HalfOfItInHalfPrecisionRunsWithoutConversion) {
  const test::TempFolder folder;
  const std::int64_t bytes = write_sparse_checkpoint(folder.path(), "BF16", 2);
  ASSERT_GT(bytes, kGigabyte / 2);
  const auto model = CausalLm::load(folder.path());
  EXPECT_EQ(model->num_bytes(), bytes);
  const NoGradGuard no_gradient;
  const Tensor logits = model->logits(model->hidden(test::ids_tensor({7})));
  for (const float value : test::floats(logits)) ASSERT_EQ(value, 0);
  // Parts of a weight are converted at a time, in scratch memory of a fixed size.
  EXPECT_LT(memory_stats(kCpuDevice).peak_bytes, kGigabyte / 50);
  EXPECT_LT(detail::peak_memory_bytes(), 2 * kGigabyte);
}

}  // namespace

}  // namespace wick

#include "wick/nn/lora_adapter.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nn/nn_support.hpp"
#include "wick/ops/random.hpp"

namespace wick::test {

namespace {

using Names = std::vector<std::string>;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kV = "model.layers.0.self_attn.v_proj";
const std::string kFileQ = "base_model.model." + kQ;

// Three linear layers as a model would have them.
class LoraAdapterTest : public testing::Test {
 protected:
  LoraAdapterTest() {
    add(kQ, 128, 64);
    add(kV, 32, 64);
    add("lm_head", 48, 64);
  }

  LoraHost host() const {
    LoraHost host{.output_head = "lm_head", .model_type = "qwen2", .base_model = "models/base"};
    for (const auto& linear : linears_) host.linears.push_back(linear.get());
    return host;
  }
  const Linear& q() const { return *linears_[0]; }

  // An adapter on disk that is not zero.
  std::filesystem::path saved(LoraConfig config = {}) const {
    const auto adapter = LoraAdapter::create(config, host(), 3);
    std::uint64_t seed = 100;
    for (const auto& [name, tensor] : adapter->tensors()) {
      copy_(tensor, random_normal(tensor.shape(), DType::kF32, {.seed = ++seed}, 0, 1));
    }
    adapter->save(folder_ / "adapter");
    return folder_ / "adapter";
  }
  std::string load_error() const {
    return error_of([&] { LoraAdapter::load(folder_ / "adapter", host()); }, folder_.path());
  }

  TempFolder folder_;

 private:
  void add(const std::string& path, std::int64_t out, std::int64_t in) {
    const Tensor weight = random_normal({out, in}, DType::kF32, {.seed = linears_.size()}, 0, 0.5);
    linears_.push_back(std::make_unique<Linear>(path, linears_.size(), weight, Tensor()));
  }

  std::vector<std::unique_ptr<Linear>> linears_;
};

double variance(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum / static_cast<double>(values.size());
}

float largest(const std::vector<float>& values) {
  float most = 0;
  for (const float value : values) most = std::max(most, std::abs(value));
  return most;
}

TEST_F(LoraAdapterTest, StartsAsPeftDoes) {
  const auto adapter = LoraAdapter::create({.r = 16, .lora_alpha = 8}, host(), 1);
  ASSERT_EQ(adapter->layers().size(), 2U);
  const LoraLayer& layer = *adapter->layers().at(kQ);
  EXPECT_EQ(layer.a.shape(), (Shape{16, 64}));
  EXPECT_EQ(layer.b.shape(), (Shape{128, 16}));
  EXPECT_EQ(layer.a.dtype(), DType::kF32);
  EXPECT_EQ(layer.scale, 0.5);
  EXPECT_FALSE(layer.magnitude.defined());
  // Kaiming-uniform with a = √5 is uniform in ±1/√K: its variance is 1/(3K).
  const std::vector<float> a = floats(layer.a);
  EXPECT_LE(largest(a), 0.125F);
  EXPECT_GT(largest(a), 0.124F);
  EXPECT_NEAR(variance(a) * 3 * 64, 1, 0.1);
  EXPECT_EQ(largest(floats(layer.b)), 0);
}

TEST_F(LoraAdapterTest, StartsGaussian) {
  const auto adapter =
      LoraAdapter::create({.r = 16, .init_lora_weights = LoraInit::kGaussian}, host(), 1);
  const LoraLayer& layer = *adapter->layers().at(kQ);
  EXPECT_NEAR(std::sqrt(variance(floats(layer.a))) * 16, 1, 0.1);
  EXPECT_GT(largest(floats(layer.a)), 2.0F / 16);
  EXPECT_EQ(largest(floats(layer.b)), 0);
}

TEST_F(LoraAdapterTest, StartsWithoutZeros) {
  const auto adapter =
      LoraAdapter::create({.r = 16, .init_lora_weights = LoraInit::kNone}, host(), 1);
  const LoraLayer& layer = *adapter->layers().at(kQ);
  EXPECT_LE(largest(floats(layer.a)), 0.125F);
  EXPECT_LE(largest(floats(layer.b)), 0.25F);
  EXPECT_NEAR(variance(floats(layer.b)) * 3 * 16, 1, 0.1);
}

TEST_F(LoraAdapterTest, IsAFunctionOfTheSeed) {
  const auto first = LoraAdapter::create({}, host(), 1);
  const auto same = LoraAdapter::create({}, host(), 1);
  const auto other = LoraAdapter::create({}, host(), 2);
  EXPECT_EQ(floats(first->layers().at(kQ)->a), floats(same->layers().at(kQ)->a));
  EXPECT_NE(floats(first->layers().at(kQ)->a), floats(other->layers().at(kQ)->a));
  EXPECT_NE(floats(first->layers().at(kQ)->a), floats(first->layers().at(kV)->a));
}

TEST_F(LoraAdapterTest, AFreshDoraChangesNothing) {
  const auto adapter = LoraAdapter::create({.use_dora = true}, host(), 1);
  const LoraLayer& layer = *adapter->layers().at(kQ);
  const std::vector<float> w = floats(q().weight());
  const std::vector<float> magnitude = floats(layer.magnitude);
  ASSERT_EQ(magnitude.size(), 128U);
  for (std::size_t n = 0; n < magnitude.size(); ++n) {
    const std::vector<float> row(w.begin() + static_cast<std::ptrdiff_t>(n * 64),
                                 w.begin() + static_cast<std::ptrdiff_t>((n + 1) * 64));
    EXPECT_NEAR(magnitude[n], std::sqrt(variance(row) * 64), 1e-5);
  }
}

TEST_F(LoraAdapterTest, RanksAlphasAndDropoutReachTheLayers) {
  LoraConfig config{.r = 4, .lora_alpha = 8, .lora_dropout = 0.1};
  config.rank_pattern = {{"v_proj", 2}};
  config.alpha_pattern = {{"v_proj", 1}};
  const auto adapter = LoraAdapter::create(config, host(), 1);
  EXPECT_EQ(adapter->layers().at(kQ)->scale, 2);
  EXPECT_EQ(adapter->layers().at(kV)->scale, 0.5);
  EXPECT_EQ(adapter->layers().at(kV)->a.shape(), (Shape{2, 64}));
  EXPECT_EQ(adapter->layers().at(kV)->dropout, 0.1);
  EXPECT_EQ(adapter->num_parameters(), 4 * (64 + 128) + 2 * (64 + 32));
  EXPECT_EQ(adapter->num_bytes(), 4 * adapter->num_parameters());
}

TEST_F(LoraAdapterTest, SpellsOutWhatItsConfigurationLeavesOpen) {
  const auto open = LoraAdapter::create({}, host(), 1);
  EXPECT_EQ(open->config().target_modules.suffixes, (Names{"q_proj", "v_proj"}));
  EXPECT_EQ(open->config().base_model_name_or_path, "models/base");
  LoraConfig config{.target_modules = {.all_linear = true}};
  config.base_model_name_or_path = "org/name";
  const auto all = LoraAdapter::create(config, host(), 1);
  EXPECT_EQ(all->config().target_modules.suffixes, (Names{"q_proj", "v_proj"}));
  EXPECT_EQ(all->config().base_model_name_or_path, "org/name");
  config.target_modules = {.regex = ".*q_proj"};
  EXPECT_EQ(LoraAdapter::create(config, host(), 1)->config().target_modules.regex, ".*q_proj");
}

TEST_F(LoraAdapterTest, RefusesToCreateWhatItCannot) {
  LoraConfig config;
  config.lora_dropout = 1;
  EXPECT_TRUE(has(error_of([&] { LoraAdapter::create(config, host(), 1); }),
                  "lora_dropout must be at least 0 and less than 1"));
  config = {};
  config.init_lora_weights = LoraInit::kEva;
  EXPECT_TRUE(has(error_of([&] { LoraAdapter::create(config, host(), 1); }), "are read, but not"));
}

TEST_F(LoraAdapterTest, SaysWhichTargetsNamedNothing) {
  LoraConfig config{.target_modules = {.suffixes = {"q_proj", "embed_tokens"}}};
  EXPECT_EQ(LoraAdapter::create(config, host(), 1)->unmatched(), Names{"embed_tokens"});
}

TEST_F(LoraAdapterTest, WritesPeftsNamesShapesAndTypes) {
  LoraConfig config{
      .r = 4, .use_dora = true, .target_modules = {.suffixes = {"q_proj", "lm_head"}}};
  const auto file = SafetensorsFile::open(saved(config) / "adapter_model.safetensors");
  const auto expect = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    ASSERT_TRUE(file.contains(name)) << name;
    EXPECT_EQ(file.tensors().at(name).shape, shape);
    EXPECT_EQ(file.tensors().at(name).dtype, "F32");
  };
  EXPECT_EQ(file.tensors().size(), 6U);
  expect("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {4, 64});
  expect("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", {128, 4});
  expect("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", {128});
  expect("base_model.model.lm_head.lora_A.weight", {4, 64});
  expect("base_model.model.lm_head.lora_B.weight", {48, 4});
  expect("base_model.model.lm_head.lora_magnitude_vector", {48});
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  const detail::Json json = detail::read_json_file(folder_ / "adapter/adapter_config.json");
  EXPECT_EQ(json["peft_type"], "LORA");
  EXPECT_EQ(json["use_dora"], true);
  EXPECT_EQ(json["target_modules"], detail::Json({"q_proj", "lm_head"}));
  EXPECT_EQ(json["base_model_name_or_path"], "models/base");
  EXPECT_EQ(json["inference_mode"], true);
}

TEST_F(LoraAdapterTest, ComesBackAsItWas) {
  LoraConfig config{.r = 4, .lora_alpha = 6, .use_rslora = true, .use_dora = true};
  config.rank_pattern = {{"v_proj", 2}};
  const auto path = saved(config);
  const auto first = LoraAdapter::load(path, host());
  EXPECT_EQ(first->layers().at(kQ)->scale, 3);
  EXPECT_EQ(first->layers().at(kV)->scale, 6 / std::sqrt(2.0));
  first->save(folder_ / "again");
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(detail::read_text_file(path / name),
              detail::read_text_file(folder_ / "again" / name));
  }
}

TEST_F(LoraAdapterTest, PatternsThatOverlapStillFitWhenReadBack) {
  LoraConfig config{.r = 4};
  config.rank_pattern = {{R"(self_attn\.q_proj)", 2}, {"q_proj", 8}};
  const auto path = saved(config);
  EXPECT_EQ(LoraAdapter::load(path, host())->layers().at(kQ)->a.dim(0), 2);
}

TEST_F(LoraAdapterTest, HalfPrecisionIsReadToF32) {
  const auto path = saved();
  const auto exact = floats(LoraAdapter::load(path, host())->layers().at(kQ)->a);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    edit_tensors(path / "adapter_model.safetensors", [&](NamedTensors& tensors) {
      for (auto& [name, tensor] : tensors) tensor = cast(tensor, dtype);
    });
    const auto adapter = LoraAdapter::load(path, host());
    const Tensor& a = adapter->layers().at(kQ)->a;
    EXPECT_EQ(a.dtype(), DType::kF32);
    EXPECT_LT(max_error(floats(a), exact), 0.02);
  }
}

TEST_F(LoraAdapterTest, LoadedTensorsAreItsOwn) {
  const auto path = saved();
  const std::string before = detail::read_text_file(path / "adapter_model.safetensors");
  const auto adapter = LoraAdapter::load(path, host());
  adapter->set_trainable(true);
  EXPECT_TRUE(adapter->layers().at(kQ)->a.requires_grad());
  adapter->set_trainable(false);
  copy_(adapter->layers().at(kQ)->a, Tensor::full({}, 7, DType::kF32));
  EXPECT_EQ(detail::read_text_file(path / "adapter_model.safetensors"), before);
}

TEST_F(LoraAdapterTest, TakesTheMagnitudeUnderBothNames) {
  const auto path = saved({.use_dora = true});
  const auto expected = floats(LoraAdapter::load(path, host())->layers().at(kQ)->magnitude);
  edit_tensors(path / "adapter_model.safetensors", [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name.ends_with("magnitude_vector")) name += ".weight";
    }
  });
  EXPECT_EQ(floats(LoraAdapter::load(path, host())->layers().at(kQ)->magnitude), expected);
}

TEST_F(LoraAdapterTest, NamesFileAndTensorThatDoNotFit) {
  const auto path = saved() / "adapter_model.safetensors";
  const NamedTensors good = read_all(path);
  const auto error = [&](const std::function<void(NamedTensors&)>& edit) {
    NamedTensors tensors = good;
    edit(tensors);
    save_safetensors(path, tensors);
    return load_error();
  };
  EXPECT_EQ(error([](NamedTensors& tensors) {
              std::erase_if(tensors,
                            [](const auto& e) { return e.first == kFileQ + ".lora_B.weight"; });
            }),
            "argument: load_adapter: adapter/adapter_model.safetensors: tensor " + kFileQ +
                ".lora_B.weight is missing; the configuration asks for it");
  EXPECT_EQ(
      error([](NamedTensors& tensors) {
        tensors.emplace_back("base_model.model.lm_head.lora_A.weight",
                             Tensor::zeros({8, 64}, DType::kF32));
      }),
      "argument: load_adapter: adapter/adapter_model.safetensors: tensor "
      "base_model.model.lm_head.lora_A.weight names no layer that the configuration selects in "
      "this model");
  EXPECT_EQ(error([](NamedTensors& tensors) {
              tensor_named(tensors, kFileQ + ".lora_A.weight") =
                  Tensor::zeros({8, 63}, DType::kF32);
            }),
            "shape: load_adapter: adapter/adapter_model.safetensors: tensor " + kFileQ +
                ".lora_A.weight must be [8,64] for this model, the file has [8,63]");
  EXPECT_EQ(error([](NamedTensors& tensors) {
              tensor_named(tensors, kFileQ + ".lora_A.weight") =
                  Tensor::zeros({8, 64}, DType::kI32);
            }),
            "dtype: load_adapter: adapter/adapter_model.safetensors: tensor " + kFileQ +
                ".lora_A.weight must be f32, f16 or bf16");
  save_safetensors(path, good);
  EXPECT_EQ(load_error(), "no error");
}

TEST_F(LoraAdapterTest, AWrongRankIsAMisshapenTensor) {
  edit_json(saved() / "adapter_config.json", [](detail::Json& json) { json["r"] = 4; });
  EXPECT_TRUE(
      has(load_error(), ".lora_A.weight must be [4,64] for this model, the file has [8,64]"));
}

TEST_F(LoraAdapterTest, DoraWithoutMagnitudesIsIncomplete) {
  edit_json(saved() / "adapter_config.json", [](detail::Json& json) { json["use_dora"] = true; });
  EXPECT_TRUE(has(load_error(), kFileQ + ".lora_magnitude_vector is missing"));
}

TEST_F(LoraAdapterTest, MagnitudesWithoutDoraAreRefused) {
  edit_json(saved({.use_dora = true}) / "adapter_config.json",
            [](detail::Json& json) { json["use_dora"] = false; });
  EXPECT_TRUE(has(load_error(), kFileQ + ".lora_magnitude_vector names no layer"));
}

TEST_F(LoraAdapterTest, AnotherModelsAdapterIsRefused) {
  saved();
  edit_json(folder_ / "adapter/adapter_config.json",
            [](detail::Json& json) { json["target_modules"] = {"c_attn"}; });
  EXPECT_TRUE(has(load_error(), "target_modules (c_attn) names no linear layer of the model"));
}

TEST_F(LoraAdapterTest, BrokenFilesAreNamed) {
  const auto path = saved();
  const auto tensors = path / "adapter_model.safetensors";
  std::filesystem::resize_file(tensors, std::filesystem::file_size(tensors) - 1);
  EXPECT_TRUE(has(load_error(), "parse: adapter/adapter_model.safetensors")) << load_error();
  std::filesystem::remove(tensors);
  EXPECT_TRUE(has(load_error(), "io: adapter/adapter_model.safetensors")) << load_error();
  write_text(path / "adapter_model.bin", "pickle");
  EXPECT_TRUE(has(load_error(), "adapter_model.bin is a pickled PyTorch file")) << load_error();
  write_text(path / "adapter_config.json", "{\"peft_type\": ");
  EXPECT_TRUE(has(load_error(), "parse: adapter/adapter_config.json: byte")) << load_error();
}

TEST_F(LoraAdapterTest, AFolderWithoutAnAdapterSaysSo) {
  EXPECT_EQ(load_error(), "io: load_adapter: adapter/adapter_config.json does not exist");
  const auto path = saved();
  std::filesystem::create_directories(folder_ / "outer");
  std::filesystem::rename(path, folder_ / "outer/poet");
  const std::string error = error_of([&] { LoraAdapter::load(folder_ / "outer", host()); });
  EXPECT_TRUE(has(error, "there is an adapter in ")) << error;
  EXPECT_TRUE(has(error, "outer/poet")) << error;
}

TEST_F(LoraAdapterTest, CannotBeSavedWhereAFileIs) {
  write_text(folder_ / "file", "");
  const auto adapter = LoraAdapter::create({}, host(), 1);
  EXPECT_TRUE(has(error_of([&] { adapter->save(folder_ / "file"); }), "io: "));
}

}  // namespace

}  // namespace wick::test

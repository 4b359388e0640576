#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "models/model_support.hpp"
#include "wick/models/text_encoder.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/random.hpp"
#include "wick/runtime/memory.hpp"

namespace wick::test {

namespace {

struct Subject {
  std::string model;
  std::string adapter;
};

std::vector<Subject> all_adapters() {
  std::vector<Subject> subjects;
  for (const std::string model : {"llama-sharded-bf16", "llama3-rope-scaled", "mistral-sliding",
                                  "qwen2-tied", "qwen3-qknorm"}) {
    for (const std::string adapter : {"lora", "lora-all", "rslora", "dora"}) {
      if (std::filesystem::exists(fixture(model) / "adapters" / adapter)) {
        subjects.push_back({model, adapter});
      }
    }
  }
  return subjects;
}

std::filesystem::path adapter_of(const Subject& subject) {
  return fixture(subject.model) / "adapters" / subject.adapter;
}

std::shared_ptr<CausalLm> load(const std::string& name, std::optional<DType> dtype = {}) {
  return CausalLm::load(fixture(name), {.dtype = dtype});
}

class EveryAdapter : public testing::TestWithParam<Subject> {};
std::string name_of(const testing::TestParamInfo<Subject>& subject) {
  std::string name = subject.param.model + "_" + subject.param.adapter;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Adapters, EveryAdapter, testing::ValuesIn(all_adapters()), name_of);

TEST(Adapters, FixturesAreThere) { EXPECT_EQ(all_adapters().size(), 14U); }

TEST_P(EveryAdapter, ComputesWhatTheReferenceDoes) {
  const auto model = load(GetParam().model, DType::kF32);
  model->load_adapter("default", adapter_of(GetParam()));
  const auto base = SafetensorsFile::open(fixture(GetParam().model) / "expected.safetensors");
  const auto expected = SafetensorsFile::open(adapter_of(GetParam()) / "expected.safetensors");
  const Tensor ids = base.tensor("input_ids");
  // Loaded is not active. (The bf16 base's own reference was computed with other rotary frequencies.)
  const double limit = has(GetParam().model, "bf16") ? 0.2 : 2e-4;
  EXPECT_LT(max_error(logits_of(*model, ids), base.tensor("logits")), limit);
  model->set_active_adapters({{"default"}});
  EXPECT_LT(max_error(logits_of(*model, ids), expected.tensor("logits")), 2e-4);
  model->merge_adapters();
  EXPECT_LT(max_error(logits_of(*model, ids), expected.tensor("logits")), 3e-4);
}

TEST_P(EveryAdapter, SavedByWickItComputesTheSame) {
  const TempFolder folder;
  const auto model = load(GetParam().model);
  model->load_adapter("first", adapter_of(GetParam()))->save(folder / "again");
  model->load_adapter("second", folder / "again");
  const Tensor ids = ids_tensor(some_ids(12));
  model->set_active_adapters({{"first"}});
  const std::vector<float> first = floats(logits_of(*model, ids));
  model->set_active_adapters({{"second"}});
  EXPECT_EQ(floats(logits_of(*model, ids)), first);
  // Names, shapes and dtypes are those that PEFT wrote.
  const auto theirs = SafetensorsFile::open(adapter_of(GetParam()) / "adapter_model.safetensors");
  const auto ours = SafetensorsFile::open(folder / "again/adapter_model.safetensors");
  ASSERT_EQ(ours.tensors().size(), theirs.tensors().size());
  for (const auto& [name, info] : theirs.tensors()) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_EQ(ours.tensors().at(name).shape, info.shape) << name;
    EXPECT_EQ(ours.tensors().at(name).dtype, info.dtype) << name;
  }
}

TEST_P(EveryAdapter, MergingAndBackLeavesTheBits) {
  const auto model = load(GetParam().model);
  model->load_adapter("default", adapter_of(GetParam()));
  const Tensor ids = ids_tensor(some_ids(12));
  const std::vector<float> base = floats(logits_of(*model, ids));
  model->set_active_adapters({{"default"}});
  const Tensor open = logits_of(*model, ids);
  model->merge_adapters();
  const double limit = has(GetParam().model, "bf16") ? 0.3 : 2e-4;
  EXPECT_LT(max_error(logits_of(*model, ids), open), limit);
  model->unmerge_adapters();
  EXPECT_EQ(floats(logits_of(*model, ids)), floats(open));
  model->set_active_adapters({});
  EXPECT_EQ(floats(logits_of(*model, ids)), base);
}

// Several adapters on one model.
class ManyAdapters : public testing::Test {
 protected:
  ManyAdapters() : model_(load("qwen2-tied")) {
    for (const std::string name : {"lora", "lora-all", "rslora", "dora"}) {
      model_->load_adapter(name, adapter_of({"qwen2-tied", name}));
    }
  }

  std::vector<float> logits(const std::vector<ActiveAdapter>& active) {
    model_->set_active_adapters(active);
    return floats(logits_of(*model_, ids_));
  }

  std::shared_ptr<CausalLm> model_;
  Tensor ids_ = ids_tensor(some_ids(12));
};

TEST_F(ManyAdapters, SwitchingIsExact) {
  const auto base = logits({});
  const auto lora = logits({{"lora"}});
  const auto dora = logits({{"dora"}});
  EXPECT_GT(max_error(lora, base), 1e-2);
  EXPECT_GT(max_error(dora, lora), 1e-2);
  EXPECT_EQ(logits({{"lora"}}), lora);
  EXPECT_EQ(logits({}), base);
  EXPECT_EQ(logits({{"dora"}}), dora);
}

TEST_F(ManyAdapters, SwitchingTakesNoMemory) {
  logits({{"lora"}});
  const NoGradGuard no_gradient;
  const auto bytes = [&] { return memory_stats(kCpuDevice).live_bytes; };
  const auto weights = [&] {
    std::vector<Tensor> all;
    for (const auto& linear : model_->linears()) all.push_back(linear->weight());
    return all;
  };
  const std::vector<Tensor> before = weights();
  const auto live = bytes();
  for (const std::vector<ActiveAdapter>& active :
       {std::vector<ActiveAdapter>{{"lora-all"}}, {{"lora", 0.5}, {"rslora", 0.5}}, {}}) {
    model_->set_active_adapters(active);
    logits_of(*model_, ids_);
    EXPECT_EQ(bytes(), live);
  }
  const std::vector<Tensor> after = weights();
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(after[i].shares_storage_with(before[i]));
    EXPECT_EQ(after[i].version(), before[i].version());
  }
}

TEST_F(ManyAdapters, AWeightedSumAddsUpTheChangesOfTheWeights) {
  const std::vector<ActiveAdapter> mixture{{"lora", 0.5}, {"lora-all", -0.25}, {"dora", 2}};
  const auto mixed = logits(mixture);
  // The same by hand: W + Σ weight · (merged W − W), layer by layer.
  std::map<std::string, Tensor> expected;
  for (const auto& linear : model_->linears()) {
    expected[linear->path()] = cast(linear->weight(), DType::kF32);
  }
  for (const ActiveAdapter& one : mixture) {
    model_->set_active_adapters({{one.name}});
    for (const auto& linear : model_->linears()) {
      Tensor& sum = expected[linear->path()];
      sum = add(sum, scale(sub(linear->merged_weight(), linear->weight()), one.weight));
    }
  }
  model_->set_active_adapters(mixture);
  for (const auto& linear : model_->linears()) {
    EXPECT_LT(max_error(linear->merged_weight(), expected[linear->path()]), 1e-5) << linear->path();
  }
  model_->merge_adapters();
  EXPECT_LT(max_error(floats(logits_of(*model_, ids_)), mixed), 5e-4);
  model_->unmerge_adapters();
}

TEST_F(ManyAdapters, WeightsOfOneAndNothing) {
  const auto base = logits({});
  const auto lora = logits({{"lora"}});
  EXPECT_LT(max_error(logits({{"lora", 0}}), base), 1e-4);
  EXPECT_LT(max_error(logits({{"lora", 1}, {"dora", 0}}), lora), 1e-4);
  EXPECT_LT(max_error(logits({{"lora", 0.25}, {"lora", 0.75}}), lora), 1e-4);
}

TEST_F(ManyAdapters, RemovedOnesAreForgotten) {
  const auto base = logits({});
  const auto lora = logits({{"lora"}});
  model_->set_active_adapters({{"lora"}, {"dora"}});
  model_->remove_adapter("dora");
  EXPECT_EQ(floats(logits_of(*model_, ids_)), lora);
  model_->remove_adapter("lora");
  EXPECT_EQ(floats(logits_of(*model_, ids_)), base);
  EXPECT_FALSE(model_->adapters().contains("lora"));
  EXPECT_TRUE(has(error_of([&] { model_->set_active_adapters({{"lora"}}); }),
                  "no adapter is named \"lora\"; there are: lora-all, rslora"));
  EXPECT_TRUE(
      has(error_of([&] { model_->remove_adapter("lora"); }), "no adapter is named \"lora\""));
}

TEST_F(ManyAdapters, MergedOnesStay) {
  const auto lora = logits({{"lora"}});
  model_->merge_adapters();
  model_->merge_adapters();
  EXPECT_LT(max_error(floats(logits_of(*model_, ids_)), lora), 2e-4);
  EXPECT_TRUE(has(error_of([&] { model_->set_active_adapters({}); }), "unmerge them first"));
  EXPECT_TRUE(has(error_of([&] { model_->remove_adapter("lora"); }), "unmerge first"));
  EXPECT_TRUE(model_->adapters().contains("lora"));
  model_->remove_adapter("dora");  // takes no part
  model_->unmerge_adapters();
  EXPECT_EQ(floats(logits_of(*model_, ids_)), lora);
}

TEST_F(ManyAdapters, RefusesWhatItCannotUse) {
  EXPECT_EQ(error_of([&] { model_->add_adapter("none", nullptr); }),
            "argument: add_adapter: \"none\" is a null pointer");
  EXPECT_TRUE(has(error_of([&] { model_->add_adapter("lora", model_->adapters().at("dora")); }),
                  "there is an adapter named \"lora\" already"));
  EXPECT_TRUE(has(error_of([&] {
                    model_->set_active_adapters(
                        {{"lora", std::numeric_limits<double>::infinity()}});
                  }),
                  "the weight of \"lora\" must be finite"));
  const auto other = load("llama3-rope-scaled");  // has fewer layers
  EXPECT_TRUE(has(error_of([&] { other->add_adapter("x", model_->adapters().at("lora-all")); }),
                  "model.layers.0.mlp.down_proj: lora_A must be"));
  const auto encoder = TextEncoder::load(fixture("bert-mean"));
  EXPECT_TRUE(has(error_of([&] { encoder->add_adapter("x", model_->adapters().at("lora")); }),
                  "adapter \"x\" changes model.layers.0.self_attn.q_proj, which the model lacks"));
  EXPECT_TRUE(encoder->adapters().empty());
  EXPECT_TRUE(
      has(error_of([&] { other->load_adapter("x", adapter_of({"qwen2-tied", "lora-all"})); }),
          "adapter_model.safetensors: tensor base_model.model.model.layers."));
}

TEST(Adapters, GradientsReachEveryTensorOfAnyDtype) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const auto model = load("qwen3-qknorm", dtype);
    const LoraConfig config{.r = 4, .use_dora = true, .target_modules = {.all_linear = true}};
    const auto adapter = LoraAdapter::create(config, model->lora_host(), 1);
    model->add_adapter("new", adapter);
    model->set_active_adapters({{"new"}});
    adapter->set_trainable(true);
    backward(model->loss(model->hidden(ids_tensor(some_ids(8))), ids_tensor(some_ids(8, 3))));
    for (const auto& [name, tensor] : adapter->tensors()) {
      EXPECT_EQ(tensor.dtype(), DType::kF32);
      ASSERT_TRUE(tensor.grad().defined()) << name;
    }
    for (const auto& [name, tensor] : model->parameters()) EXPECT_FALSE(tensor.requires_grad());
  }
}

TEST(Adapters, AFreshOneChangesNothing) {
  const auto model = load("qwen2-tied");
  const Tensor ids = ids_tensor(some_ids(8));
  const Tensor base = logits_of(*model, ids);
  for (const bool dora : {false, true}) {
    const std::string name = dora ? "dora" : "lora";
    const LoraConfig config{.use_dora = dora, .target_modules = {.all_linear = true}};
    model->add_adapter(name, LoraAdapter::create(config, model->lora_host(), 1));
    model->set_active_adapters({{name}});
    EXPECT_LT(max_error(logits_of(*model, ids), base), 1e-4);
  }
}

TEST(Adapters, TheOutputHeadTakesOneToo) {
  const auto model = load("qwen2-tied");  // the head is the embedding
  const LoraConfig config{.r = 2, .target_modules = {.suffixes = {"lm_head"}}};
  const auto adapter = LoraAdapter::create(config, model->lora_host(), 1);
  const LoraLayer& layer = *adapter->layers().at("lm_head");
  copy_(layer.b, random_normal(layer.b.shape(), DType::kF32, {.seed = 9}, 0, 0.5));
  model->add_adapter("head", adapter);
  const Tensor ids = ids_tensor(some_ids(10));
  const Tensor hidden = model->hidden(ids);
  const std::vector<float> embedding = floats(model->parameters().front().second);
  const Tensor before = logits_of(*model, ids);
  model->set_active_adapters({{"head"}});
  const Tensor after = logits_of(*model, ids);
  EXPECT_GT(max_error(after, before), 1e-2);
  // The loss in chunks is the loss of these logits, and passes gradients.
  const Tensor targets = ids_tensor(some_ids(10, 3));
  const float whole = model->loss(hidden, targets, {}, 1000).item<float>();
  EXPECT_NEAR(model->loss(hidden, targets, {}, 3).item<float>(), whole, 1e-5);
  adapter->set_trainable(true);
  backward(model->loss(hidden, targets, {}, 3));
  EXPECT_TRUE(layer.a.grad().defined() && layer.b.grad().defined());
  adapter->set_trainable(false);
  model->merge_adapters();
  EXPECT_LT(max_error(logits_of(*model, ids), after), 2e-4);
  EXPECT_NEAR(model->loss(hidden, targets).item<float>(), whole, 1e-4);
  EXPECT_EQ(floats(model->parameters().front().second), embedding);
}

}  // namespace

}  // namespace wick::test

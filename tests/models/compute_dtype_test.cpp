#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "models/builder.hpp"
#include "models/model_support.hpp"
#include "wick/models/text_encoder.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::test {

namespace {

const std::vector<std::string> kDecoders{"llama-sharded-bf16", "llama3-rope-scaled",
                                         "mistral-sliding", "qwen2-tied", "qwen3-qknorm"};

// ‖got − expected‖ / ‖expected‖.
double relative_error(const std::vector<float>& got, const std::vector<float>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto value = static_cast<double>(expected[i]);
    difference += std::pow(static_cast<double>(got[i]) - value, 2);
    norm += value * value;
  }
  return std::sqrt(difference / norm);
}

// Half a unit in the last place of 1.
double rounding_of(DType dtype) { return dtype == DType::kBF16 ? 1.0 / 256 : 1.0 / 2048; }

std::shared_ptr<CausalLm> load(const std::string& name, const LoadOptions& options) {
  LoadOptions all = options;
  if (has(name, "bf16")) all.rope_dtype = DType::kBF16;
  return CausalLm::load(fixture(name), all);
}

Tensor targets_of(const Tensor& labels) {
  const std::vector<std::int64_t> values = labels.to_vector<std::int64_t>();
  const auto length = static_cast<std::size_t>(labels.dim(1));
  std::vector<std::int64_t> targets(values.size(), -100);
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    if ((i + 1) % length != 0) targets[i] = values[i + 1];
  }
  return Tensor::from_values(targets, labels.shape());
}

class HalfDecoder : public testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  static std::string name() { return std::get<0>(GetParam()); }
  static DType dtype() { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(ComputeDtype, HalfDecoder,
                         testing::Combine(testing::ValuesIn(kDecoders),
                                          testing::Values(DType::kBF16, DType::kF16)),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name + "_" + std::string(to_string(std::get<1>(test.param)));
                         });

TEST_P(HalfDecoder, IsNearTheReference) {
  const auto model = load(name(), {.compute_dtype = dtype()});
  EXPECT_EQ(model->compute_dtype(), dtype());
  for (const auto& [weight, tensor] : model->parameters()) EXPECT_EQ(tensor.dtype(), dtype());
  const auto expected = SafetensorsFile::open(fixture(name()) / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids");
  const Tensor hidden = model->hidden(ids);
  EXPECT_EQ(hidden.dtype(), dtype());
  const Tensor logits = model->logits(hidden);
  EXPECT_EQ(logits.dtype(), DType::kF32);
  EXPECT_LT(relative_error(floats(hidden), floats(expected.tensor("hidden_last"))),
            6 * rounding_of(dtype()));
  const double logits_error = relative_error(floats(logits), floats(expected.tensor("logits")));
  EXPECT_LT(logits_error, 6 * rounding_of(dtype()));
  const Tensor loss = model->loss(hidden, targets_of(expected.tensor("labels")));
  EXPECT_EQ(loss.dtype(), DType::kF32);
  const double loss_error =
      std::abs(static_cast<double>(loss.item<float>() - floats(expected.tensor("loss"))[0]));
  EXPECT_LT(loss_error, 2 * rounding_of(dtype()));
  RecordProperty("logits_error", std::to_string(logits_error));
  RecordProperty("loss_error", std::to_string(loss_error));
}

TEST_P(HalfDecoder, DecodesWithACacheAsWithout) {
  const auto model = load(name(), {.compute_dtype = dtype()});
  const Tensor ids = ids_tensor(some_ids(24), 2);
  const Tensor expected = logits_of(*model, ids);
  KvCache cache = model->make_cache(2, 12);
  const ModelConfig& config = model->config();
  const Tensor nothing =
      Tensor::zeros({2, 0, config.num_key_value_heads, config.head_dim}, dtype());
  EXPECT_EQ(cache.append(0, nothing, nothing).k.dtype(), dtype());
  std::int64_t begin = 0;
  for (const std::int64_t end : {5, 10, 11, 12}) {
    const Tensor part = contiguous(slice(ids, 1, begin, end));
    const Tensor got = logits_of(*model, part, {.cache = &cache});
    // Products of few rows and of many are summed in different orders: as far from each other as from the exact ones.
    EXPECT_LT(relative_error(floats(got), floats(slice(expected, 1, begin, end))),
              6 * rounding_of(dtype()))
        << begin;
    begin = end;
  }
}

// Weights of any dtype under activations of any other: what differs is rounding alone.
TEST_P(HalfDecoder, WeightsOfEveryDtypeWork) {
  const Tensor ids = ids_tensor(some_ids(16), 2);
  const std::vector<float> expected = floats(logits_of(*load(name(), {.dtype = DType::kF32}), ids));
  for (const DType held : {DType::kF32, DType::kF16, DType::kBF16}) {
    SCOPED_TRACE(to_string(held));
    const auto model = load(name(), {.dtype = held, .compute_dtype = dtype()});
    for (const auto& [weight, tensor] : model->parameters()) EXPECT_EQ(tensor.dtype(), held);
    EXPECT_LT(relative_error(floats(logits_of(*model, ids)), expected),
              5 * rounding_of(DType::kBF16));
  }
}

// The head's logits are not rounded to the activations' dtype, whether or not a gradient can pass.
TEST_P(HalfDecoder, LogitsAreTheSameWithAndWithoutAGradient) {
  const auto model = load(name(), {.compute_dtype = dtype()});
  const Tensor hidden = model->hidden(ids_tensor(some_ids(9))).detach();
  const std::vector<float> plain = floats(model->logits(hidden));
  hidden.set_requires_grad(true);
  const Tensor logits = model->logits(hidden);
  EXPECT_LT(relative_error(floats(logits.detach()), plain), 1e-6);
  backward(sum(logits));
  EXPECT_EQ(hidden.grad().dtype(), dtype());
}

TEST(ComputeDtype, IsF32OnTheCpuUnlessAskedFor) {
  const auto model = CausalLm::load(fixture("llama-sharded-bf16"));
  EXPECT_EQ(model->compute_dtype(), DType::kF32);
  EXPECT_EQ(model->parameters()[0].second.dtype(), DType::kBF16);
  EXPECT_EQ(model->hidden(ids_tensor(some_ids(3))).dtype(), DType::kF32);
  EXPECT_EQ(CausalLm::create(model->config(), 1)->compute_dtype(), DType::kF32);
}

TEST(ComputeDtype, IsThatOfTheMatricesOnCuda) {
  const Device cuda{DeviceType::kCuda, 0};
  const auto chosen = [&](const std::vector<DType>& matrices, Device device) {
    NamedTensors parameters{{"norm", Tensor::zeros({2}, DType::kF32)}};
    for (const DType dtype : matrices) parameters.emplace_back("w", Tensor::zeros({2, 2}, dtype));
    return default_compute_dtype(parameters, device);
  };
  constexpr DType kF32 = DType::kF32;
  constexpr DType kF16 = DType::kF16;
  constexpr DType kBF16 = DType::kBF16;
  EXPECT_EQ(chosen({kBF16, kBF16}, cuda), kBF16);
  EXPECT_EQ(chosen({kF16, kF16}, cuda), kF16);
  EXPECT_EQ(chosen({kF16, kBF16}, cuda), kF32);
  EXPECT_EQ(chosen({kBF16, kF32}, cuda), kF32);
  EXPECT_EQ(chosen({kF32}, cuda), kF32);
  EXPECT_EQ(chosen({}, cuda), kF32);
  EXPECT_EQ(chosen({kBF16, kBF16}, kCpuDevice), kF32);
}

TEST(ComputeDtype, MustBeFloating) {
  const std::string error =
      error_of([] { CausalLm::load(fixture("qwen2-tied"), {.compute_dtype = DType::kI32}); });
  EXPECT_EQ(error, "dtype: load_model: compute_dtype must be f32, f16 or bf16, got i32");
  const ModelConfig config = load_model_config(fixture("qwen2-tied"));
  EXPECT_TRUE(
      has(error_of([&] { CausalLm::create(config, 1, kCpuDevice, DType::kBool); }), "got bool"));
}

TEST(ComputeDtype, OfAnEncoder) {
  const auto expected = SafetensorsFile::open(fixture("bert-mean") / "expected.safetensors");
  const Tensor ids = expected.tensor("input_ids");
  const Tensor mask = cast(expected.tensor("attention_mask"), DType::kBool);
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const std::optional<DType> held : {std::optional<DType>(), {DType::kF32}}) {
      const auto model =
          TextEncoder::load(fixture("bert-mean"), {.dtype = held, .compute_dtype = dtype});
      EXPECT_EQ(model->hidden(ids, mask).dtype(), dtype);
      const Tensor embedding = model->embed(ids, mask);
      EXPECT_EQ(embedding.dtype(), DType::kF32);
      EXPECT_LT(relative_error(floats(embedding), floats(expected.tensor("embedding"))),
                4 * rounding_of(dtype));
    }
  }
}

}  // namespace

}  // namespace wick::test

// From one thread to many more than there are processors: the same bits, in sizes that no block divides and that are large
// enough to be shared.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "train/run_support.hpp"
#include "wick/wick.hpp"

namespace wick::test {

namespace {

constexpr int kThreads[] = {2, 3, 7, 64};

class ThreadCount {
 public:
  ThreadCount() : before_(num_threads()) {}
  ~ThreadCount() { set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

// Values in [-1, 1); with `offset` a view that begins so many elements into a row of its memory and whose rows are apart.
Tensor values(std::int64_t rows, std::int64_t columns, DType dtype, std::int64_t offset = 0) {
  std::mt19937 random(static_cast<std::uint32_t>(rows * 7919 + columns));
  std::vector<float> all(static_cast<std::size_t>(rows * (columns + 2 * offset)));
  for (float& value : all) value = static_cast<float>(random() >> 8) / 8388608.0F - 1;
  const Tensor whole = cast(Tensor::from_values(all, {rows, columns + 2 * offset}), dtype);
  return offset == 0 ? whole : slice(whole, 1, offset, offset + columns);
}

using Op = std::function<std::vector<Tensor>(std::int64_t, std::int64_t, DType, std::int64_t)>;

// The op, and the gradients of its operands for a cotangent that is not one everywhere.
std::vector<Tensor> with_gradients(const std::vector<Tensor>& operands,
                                   const std::function<Tensor()>& op) {
  for (const Tensor& operand : operands) operand.set_requires_grad(true);
  const Tensor y = op();
  const Tensor flat = y.detach();
  backward(y, swiglu(flat, flat));
  std::vector<Tensor> results{flat};
  for (const Tensor& operand : operands) results.push_back(operand.grad());
  return results;
}

struct SharedOp {
  std::string name;
  Op run;
};

std::ostream& operator<<(std::ostream& out, const SharedOp& op) { return out << op.name; }

std::vector<SharedOp> shared_ops() {
  return {
      {"matmul",
       [](auto rows, auto columns, DType dtype, auto offset) -> std::vector<Tensor> {
         const Tensor x = values(rows, 517, dtype, offset);
         const Tensor w = values(columns, 517, dtype, offset);
         return {matmul(x, w, {.transpose_b = true})};
       }},
      {"lora_linear",
       [](auto rows, auto columns, DType dtype, auto offset) {
         const Tensor x = values(rows, 259, dtype, offset).detach();
         const Tensor w = values(columns, 259, dtype, offset);
         const Tensor a = values(5, 259, DType::kF32);
         const Tensor b = values(columns, 5, DType::kF32);
         return with_gradients({a, b},
                               [&] { return lora_linear(x, w, {}, a, b, {.scale = 0.5F}); });
       }},
      {"softmax",
       [](auto rows, auto columns, DType dtype, auto offset) -> std::vector<Tensor> {
         return {softmax(values(rows, columns, dtype, offset))};
       }},
      {"rms_norm",
       [](auto rows, auto columns, DType dtype, auto offset) {
         const Tensor x = contiguous(values(rows, columns, dtype, offset)).detach();
         const Tensor gain = slice(values(2, columns, dtype), 0, 1, 2);
         const Tensor weight = contiguous(reshape(gain, {columns})).detach();
         return with_gradients({x, weight}, [&] { return rms_norm(x, weight); });
       }},
      {"swiglu",
       [](auto rows, auto columns, DType dtype, auto offset) -> std::vector<Tensor> {
         const Tensor gate = values(rows, columns, dtype, offset);
         return {swiglu(gate, values(rows, columns, dtype))};
       }},
  };
}

class SharedWork : public testing::TestWithParam<SharedOp> {};
INSTANTIATE_TEST_SUITE_P(Ops, SharedWork, testing::ValuesIn(shared_ops()),
                         [](const auto& test) { return test.param.name; });

std::vector<std::vector<float>> bits_of(const std::vector<Tensor>& results) {
  std::vector<std::vector<float>> all;
  all.reserve(results.size());
  for (const Tensor& result : results) all.push_back(floats(result));
  return all;
}

TEST_P(SharedWork, GivesTheSameBitsOnAnyNumberOfThreads) {
  struct Size {
    std::int64_t rows, columns, offset;
  };
  constexpr Size kSizes[] = {{1, 9001, 0}, {8193, 1, 0}, {131, 389, 0}, {131, 389, 1}, {2, 3, 0}};
  const ThreadCount restored;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [rows, columns, offset] : kSizes) {
      SCOPED_TRACE(testing::Message()
                   << to_string(dtype) << " " << rows << " x " << columns << ", offset " << offset);
      set_num_threads(1);
      const auto expected = bits_of(GetParam().run(rows, columns, dtype, offset));
      for (const float value : expected.front()) ASSERT_FALSE(std::isnan(value));
      for (const int threads : kThreads) {
        set_num_threads(threads);
        EXPECT_EQ(bits_of(GetParam().run(rows, columns, dtype, offset)), expected)
            << threads << " threads";
      }
    }
  }
}

// Three rows of 67 tokens through layers whose sizes are odd.
std::vector<float> trained(DType dtype) {
  const ModelConfig config =
      parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "vocab_size": 509, "hidden_size": 102, "intermediate_size": 257, "num_hidden_layers": 2,
      "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 128, "rms_norm_eps": 1e-6,
      "hidden_act": "silu", "tie_word_embeddings": false})");
  const auto model = CausalLm::create(config, 7, kCpuDevice, dtype);
  LoraConfig lora;
  lora.r = 5;
  lora.target_modules.all_linear = true;
  const auto adapter = model->create_adapter("default", lora, 11);
  model->set_active_adapters({{"default"}});
  adapter->set_trainable(true);
  MicroBatch batch{.batch_size = 3, .length = 67, .num_targets = 201, .num_tokens = 201};
  for (std::int32_t i = 0; i < 201; ++i) {
    batch.ids.push_back(i * 7 % 509);
    batch.targets.push_back(i * 11 % 509);
    batch.positions.push_back(i % 67);
    batch.segments.push_back(0);
  }
  Optimizer optimizer(*model, adapter->tensors(), {}, {});
  std::vector<float> all;
  for (int step = 0; step < 2; ++step) {
    const auto report = optimizer.step(std::span(&batch, 1), 1e-3, 0);
    all.push_back(static_cast<float>(report->loss));
    all.push_back(static_cast<float>(report->grad_norm));
  }
  const std::vector<float> weights = floats(adapter->tensors());
  all.insert(all.end(), weights.begin(), weights.end());
  return all;
}

TEST(ThreadCounts, TrainInTheSameBits) {
  const ThreadCount restored;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    set_num_threads(1);
    const std::vector<float> expected = trained(dtype);
    ASSERT_GT(expected.front(), 1);
    for (const int threads : kThreads) {
      set_num_threads(threads);
      EXPECT_EQ(trained(dtype), expected) << to_string(dtype) << " on " << threads << " threads";
    }
  }
}

}  // namespace

}  // namespace wick::test

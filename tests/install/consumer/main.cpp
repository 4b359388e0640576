// What a user of the installed package writes first: a product, its gradient, and their values. Then a model of no
// words, which the other consumers load: consumer <folder>.
#include <cstdio>
#include <exception>
#include <vector>

#include "wick/wick.hpp"

namespace {

bool equal(const char* name, const std::vector<float>& got, const std::vector<float>& expected) {
  if (got == expected) return true;
  std::fprintf(stderr, "%s has unexpected values:", name);
  for (const float value : got) std::fprintf(stderr, " %g", static_cast<double>(value));
  std::fprintf(stderr, "\n");
  return false;
}

bool differentiates_a_product() {
  const auto x = wick::Tensor::from_values<float>({1, 2, 3, 4, 5, 6}, wick::Shape{2, 3});
  const auto weight = wick::Tensor::from_values<float>({1, -1, 2, 0, 1, 3}, wick::Shape{3, 2});
  const auto cotangent = wick::Tensor::from_values<float>({1, 2, 3, 4}, wick::Shape{2, 2});
  weight.set_requires_grad(true);

  const wick::Tensor product = wick::matmul(x, weight);
  wick::backward(product, cotangent);

  // x times weight, and the transpose of x times the cotangent.
  return equal("the product", product.to_vector<float>(), {8, 8, 20, 14}) &&
         equal("the gradient", weight.grad().to_vector<float>(), {13, 18, 17, 24, 21, 30});
}

bool refuses_what_does_not_fit() {
  const auto a = wick::Tensor::zeros(wick::Shape{2, 3}, wick::DType::kF32);
  try {
    wick::matmul(a, a);
  } catch (const wick::Error& error) {
    return error.kind() == wick::ErrorKind::kShape;
  }
  std::fprintf(stderr, "a product of shapes that do not fit was not refused\n");
  return false;
}

void write_a_model(const char* folder) {
  const wick::ModelConfig config = wick::parse_model_config(R"({
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 4096,
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "eos_token_id": 0})");
  wick::CausalLm::create(config, 1)->write_files(folder);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!differentiates_a_product() || !refuses_what_does_not_fit()) return 1;
    if (argc == 2) write_a_model(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::puts("the installed package works");
  return 0;
}

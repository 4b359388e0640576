#include "bench_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "base/file_io.hpp"
#include "base/json.hpp"
#include "wick/base/error.hpp"

namespace wick::cli {

namespace {

// The sizes that Qwen2.5's published config.json files have.
struct QwenShape {
  std::string_view name;
  std::int64_t hidden_size;
  std::int64_t intermediate_size;
  std::int64_t num_hidden_layers;
  std::int64_t num_attention_heads;
  std::int64_t num_key_value_heads;
  std::int64_t vocab_size;
  bool tie_word_embeddings;
};

constexpr std::array kShapes{QwenShape{"qwen2.5-0.5b", 896, 4864, 24, 14, 2, 151936, true},
                             QwenShape{"qwen2.5-1.5b", 1536, 8960, 28, 12, 2, 151936, true},
                             QwenShape{"qwen2.5-7b", 3584, 18944, 28, 28, 4, 152064, false}};

std::string json_of(const QwenShape& shape) {
  return detail::Json{{"architectures", {"Qwen2ForCausalLM"}},
                      {"model_type", "qwen2"},
                      {"hidden_act", "silu"},
                      {"hidden_size", shape.hidden_size},
                      {"intermediate_size", shape.intermediate_size},
                      {"num_hidden_layers", shape.num_hidden_layers},
                      {"num_attention_heads", shape.num_attention_heads},
                      {"num_key_value_heads", shape.num_key_value_heads},
                      {"vocab_size", shape.vocab_size},
                      {"max_position_embeddings", 131072},
                      {"rms_norm_eps", 1e-6},
                      {"rope_theta", 1000000.0},
                      {"tie_word_embeddings", shape.tie_word_embeddings},
                      {"torch_dtype", "bfloat16"}}
      .dump();
}

}  // namespace

ModelConfig config_of_shape(const std::string& shape) {
  const auto* const known = std::ranges::find(kShapes, shape, &QwenShape::name);
  if (known != kShapes.end()) return parse_model_config(json_of(*known), shape);
  if (!std::filesystem::exists(shape)) {
    throw Error(ErrorKind::kArgument, "bench",
                fmt::format("--shape takes {} or a config.json, got \"{}\"", shape_names(), shape));
  }
  return parse_model_config(detail::read_text_file(shape), shape);
}

std::string shape_names() {
  std::string names;
  for (const QwenShape& shape : kShapes) names += fmt::format("{}, ", shape.name);
  return names.substr(0, names.size() - 2);
}

}  // namespace wick::cli

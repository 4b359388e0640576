#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "wick/base/error.hpp"
#include "wick/models/model.hpp"
#include "wick/ops/move.hpp"

namespace wick {

namespace {

// What a model folder has beside its weights and configuration; it travels with the merged model.
constexpr std::array<std::string_view, 14> kCompanions{"generation_config.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "special_tokens_map.json",
                                                       "chat_template.jinja",
                                                       "added_tokens.json",
                                                       "vocab.json",
                                                       "vocab.txt",
                                                       "merges.txt",
                                                       "tokenizer.model",
                                                       "modules.json",
                                                       "sentence_bert_config.json",
                                                       "config_sentence_transformers.json",
                                                       "1_Pooling/config.json"};

constexpr std::string_view kWeight = ".weight";

std::string shard_name(std::size_t number, std::size_t count) {
  if (count == 1) return "model.safetensors";
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", number + 1, count);
  return name.data();
}

std::int64_t bytes_of(const Tensor& tensor) {
  return tensor.numel() * static_cast<std::int64_t>(size_of(tensor.dtype()));
}

// Consecutive names whose tensors fit into one file.
using Shards = std::vector<std::vector<std::size_t>>;

Shards plan_shards(const NamedTensors& tensors, std::optional<DType> dtype,
                   std::int64_t shard_bytes) {
  Shards shards(1);
  std::int64_t used = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].second;
    const std::int64_t bytes =
        dtype ? tensor.numel() * static_cast<std::int64_t>(size_of(*dtype)) : bytes_of(tensor);
    if (used > 0 && used + bytes > shard_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(i);
    used += bytes;
  }
  return shards;
}

std::string dtype_word(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
    default:
      return "float32";
  }
}

// The configuration as it was read, with what the tensors written beside it change.
std::string config_text(const ModelConfig& config, DType dtype, bool unties) {
  detail::Json json =
      detail::parse_json(config.json.empty() ? to_json(config) : config.json, "config.json");
  if (!json.contains("dtype") && !json.contains("torch_dtype")) json["torch_dtype"] = nullptr;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (json.contains(key)) json[key] = dtype_word(dtype);
  }
  if (unties) json["tie_word_embeddings"] = false;
  return detail::to_text(json);
}

void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (from.empty()) return;
  for (const std::string_view name : kCompanions) {
    if (!std::filesystem::exists(from / name)) continue;
    std::filesystem::create_directories((to / name).parent_path());
    detail::write_file_atomically(to / name, detail::read_text_file(from / name));
  }
}

void check_empty(const std::filesystem::path& folder) {
  std::error_code problem;
  if (std::filesystem::exists(folder, problem) &&
      (!std::filesystem::is_directory(folder) || !std::filesystem::is_empty(folder))) {
    throw Error(ErrorKind::kArgument, "save_model",
                folder.string() + " exists and is not an empty folder; nothing is overwritten");
  }
}

}  // namespace

void Model::save_merged(const std::filesystem::path& folder, std::optional<DType> dtype,
                        std::int64_t shard_bytes) const {
  check_empty(folder);
  std::error_code ignored;
  std::filesystem::remove(folder, ignored);  // an empty one, in whose place the new one is put
  detail::AtomicFolder target(folder);
  write_files(target.staging(), dtype, shard_bytes);
  target.commit();
}

void Model::write_files(const std::filesystem::path& folder, std::optional<DType> dtype,
                        std::int64_t shard_bytes) const {
  NamedTensors parameters = parameters_;
  if (unties_head()) {
    parameters.emplace_back(output_head_ + std::string(kWeight),
                            find_linear(output_head_)->weight());
  }
  const Shards shards = plan_shards(parameters, dtype, shard_bytes);
  detail::Json weight_map = detail::Json::object();
  std::int64_t total = 0;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    NamedTensors tensors;
    const std::string file = shard_name(s, shards.size());
    for (const std::size_t i : shards[s]) {
      const auto& [name, tensor] = parameters[i];
      const Tensor value = merged_parameter(name, tensor).detach();
      tensors.emplace_back(name, dtype ? cast(value, *dtype) : value);
      weight_map[name] = file;
      total += bytes_of(tensors.back().second);
    }
    save_safetensors(folder / file, tensors);
  }
  if (shards.size() > 1) {
    const detail::Json index{{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
    detail::write_file_atomically(folder / "model.safetensors.index.json", detail::to_text(index));
  }
  const DType written = dtype.value_or(parameters.front().second.dtype());
  detail::write_file_atomically(folder / "config.json",
                                config_text(config_, written, unties_head()));
  copy_companions(folder_, folder);
}

// An adapter on a head that is tied to the embedding must not reach the embedding.
bool Model::unties_head() const {
  const Linear* head = find_linear(output_head_);
  return config_.tie_word_embeddings && head != nullptr && head->has_adapters();
}

// A linear layer's weight with the active adapters in it; any other parameter as it is.
Tensor Model::merged_parameter(const std::string& name, const Tensor& tensor) const {
  if (!name.ends_with(kWeight)) return tensor;
  const Linear* linear =
      find_linear(std::string_view(name).substr(0, name.size() - kWeight.size()));
  return linear != nullptr ? linear->merged_weight() : tensor;
}

}  // namespace wick

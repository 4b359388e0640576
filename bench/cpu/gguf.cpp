// GGUF, version 3: a header, metadata, a table of tensors, then their bytes, each aligned. All numbers are little-endian, as
// those of every machine that runs this.

#include "gguf.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "model_case.hpp"
#include "wick/base/float16.hpp"

namespace wick::bench {

namespace {

constexpr std::uint64_t kAlignment = 32;

enum ValueType : std::uint32_t { kUint32 = 4, kFloat32 = 6, kString = 8 };
enum TensorType : std::uint32_t { kTypeF32 = 0, kTypeF16 = 1, kTypeBf16 = 30 };

struct GgufTensor {
  std::string name;
  std::int64_t rows = 0;  ///< 0 for a vector
  std::int64_t columns = 0;
  TensorType type = kTypeF32;
  std::function<std::vector<float>()> values;

  std::uint64_t bytes() const {
    const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(rows, 1) * columns);
    return count * (type == kTypeF32 ? 4 : 2);
  }
};

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class Writer {
 public:
  explicit Writer(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {}

  template <class T>
  void number(T value) {
    bytes(std::as_bytes(std::span(&value, 1)));
  }

  void text(std::string_view value) {
    number(static_cast<std::uint64_t>(value.size()));
    bytes(std::as_bytes(std::span(value)));
  }

  void bytes(std::span<const std::byte> part) {
    // SAFETY: any object may be read as characters.
    file_.write(reinterpret_cast<const char*>(part.data()),
                static_cast<std::streamsize>(part.size()));
    written_ += part.size();
  }

  void align() {
    while (written_ % kAlignment != 0) number(std::uint8_t{0});
  }

  void close() {
    file_.close();
    if (!file_) throw std::runtime_error(path_.string() + " cannot be written");
  }

 private:
  std::filesystem::path path_;
  std::ofstream file_;
  std::uint64_t written_ = 0;
};

// Keys and values of a file, and how many.
class Metadata {
 public:
  void add(std::string_view key, std::string_view value) {
    add_entry(key, kString, [value = std::string(value)](Writer& to) { to.text(value); });
  }
  void add(std::string_view key, std::int64_t value) {
    add_entry(key, kUint32, [value](Writer& to) { to.number(static_cast<std::uint32_t>(value)); });
  }
  void add(std::string_view key, float value) {
    add_entry(key, kFloat32, [value](Writer& to) { to.number(value); });
  }

  std::uint64_t size() const { return entries_.size(); }
  void write(Writer& to) const {
    for (const auto& entry : entries_) entry(to);
  }

 private:
  void add_entry(std::string_view key, ValueType type, const std::function<void(Writer&)>& value) {
    entries_.emplace_back([key = std::string(key), type, value](Writer& to) {
      to.text(key);
      to.number(static_cast<std::uint32_t>(type));
      value(to);
    });
  }

  std::vector<std::function<void(Writer&)>> entries_;
};

template <class T>
void write_as(Writer& to, const std::vector<float>& values) {
  std::vector<T> rounded;
  rounded.reserve(values.size());
  for (const float value : values) rounded.emplace_back(value);
  to.bytes(std::as_bytes(std::span(rounded)));
}

void write_values(Writer& to, const GgufTensor& tensor) {
  const std::vector<float> values = tensor.values();
  if (tensor.type == kTypeBf16) {
    write_as<BFloat16>(to, values);
  } else if (tensor.type == kTypeF16) {
    write_as<Half>(to, values);
  } else {
    write_as<float>(to, values);
  }
  to.align();
}

void write_file(const std::filesystem::path& path, const Metadata& metadata,
                const std::vector<GgufTensor>& tensors) {
  Writer to(path);
  to.bytes(std::as_bytes(std::span(std::string_view("GGUF"))));
  to.number(std::uint32_t{3});
  to.number(static_cast<std::uint64_t>(tensors.size()));
  to.number(metadata.size());
  metadata.write(to);
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    to.text(tensor.name);
    to.number(tensor.rows > 0 ? std::uint32_t{2} : std::uint32_t{1});
    to.number(static_cast<std::uint64_t>(tensor.columns));
    if (tensor.rows > 0) to.number(static_cast<std::uint64_t>(tensor.rows));
    to.number(static_cast<std::uint32_t>(tensor.type));
    to.number(offset);
    offset += aligned(tensor.bytes());
  }
  to.align();
  for (const GgufTensor& tensor : tensors) write_values(to, tensor);
  to.close();
}

// A linear layer of a block: its name in a checkpoint and in GGUF, and whether rotary positions turn its result.
struct Linear {
  std::string_view name;
  std::string_view gguf_name;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t rotated_heads;  ///< 0 where nothing is rotated
};

std::array<Linear, 7> linears(const Case& which) {
  const std::int64_t hidden = which.size(kHidden);
  const std::int64_t inner = which.size(kIntermediate);
  const std::int64_t heads = which.size(kHeads);
  const std::int64_t key_heads = which.size(kKeyHeads);
  const std::int64_t keys = hidden / heads * key_heads;
  return {{{"self_attn.q_proj", "attn_q", hidden, hidden, heads},
           {"self_attn.k_proj", "attn_k", keys, hidden, key_heads},
           {"self_attn.v_proj", "attn_v", keys, hidden, 0},
           {"self_attn.o_proj", "attn_output", hidden, hidden, 0},
           {"mlp.gate_proj", "ffn_gate", inner, hidden, 0},
           {"mlp.up_proj", "ffn_up", inner, hidden, 0},
           {"mlp.down_proj", "ffn_down", hidden, inner, 0}}};
}

// Hugging Face rotates row i of a head together with row i + half, llama.cpp neighbours: rows move to their partners.
std::vector<float> paired_rows(const std::vector<float>& values, const Linear& linear,
                               std::int64_t columns) {
  if (linear.rotated_heads == 0) return values;
  const std::int64_t head = linear.rows / linear.rotated_heads;
  std::vector<float> moved(values.size());
  for (std::int64_t row = 0; row < linear.rows; ++row) {
    const std::int64_t in_head = row % head;
    const std::int64_t half = in_head < head / 2 ? 0 : 1;
    const std::int64_t to = row - in_head + 2 * (in_head - half * (head / 2)) + half;
    std::copy_n(values.begin() + row * columns, columns, moved.begin() + to * columns);
  }
  return moved;
}

std::vector<GgufTensor> model_tensors(const Case& which) {
  const TensorType type = which.dtype == "bf16"  ? kTypeBf16
                          : which.dtype == "f16" ? kTypeF16
                                                 : kTypeF32;
  const std::int64_t hidden = which.size(kHidden);
  std::vector<GgufTensor> tensors;
  const auto gain = [&](const std::string& name) {
    const auto ones = [hidden] { return std::vector<float>(static_cast<std::size_t>(hidden), 1); };
    tensors.push_back({.name = name, .columns = hidden, .values = ones});
  };
  const auto table = [&](const std::string& name, const std::string& from) {
    const std::int64_t rows = which.size(kVocabulary);
    const auto values = [=] { return input(rows * hidden, seed_of(from), kModelScale, "f32"); };
    tensors.push_back(
        {.name = name, .rows = rows, .columns = hidden, .type = type, .values = values});
  };
  table("token_embd.weight", "model.embed_tokens.weight");
  table("output.weight", "lm_head.weight");
  gain("output_norm.weight");
  for (std::int64_t i = 0; i < which.size(kLayers); ++i) {
    for (const char* const norm : {"attn_norm", "ffn_norm"})
      gain(fmt::format("blk.{}.{}.weight", i, norm));
    for (const Linear& linear : linears(which)) {
      const std::uint64_t seed = seed_of(fmt::format("model.layers.{}.{}.weight", i, linear.name));
      const auto values = [linear, seed] {
        const auto weight = input(linear.rows * linear.columns, seed, kModelScale, "f32");
        return paired_rows(weight, linear, linear.columns);
      };
      tensors.push_back({.name = fmt::format("blk.{}.{}.weight", i, linear.gguf_name),
                         .rows = linear.rows,
                         .columns = linear.columns,
                         .type = type,
                         .values = values});
    }
  }
  return tensors;
}

std::vector<GgufTensor> adapter_tensors(const Case& which) {
  const std::int64_t rank = which.size(kRank);
  std::vector<GgufTensor> tensors;
  for (std::int64_t i = 0; i < which.size(kLayers); ++i) {
    for (const Linear& linear : linears(which)) {
      const std::string from = fmt::format("model.layers.{}.{}", i, linear.name);
      const std::string name = fmt::format("blk.{}.{}.weight", i, linear.gguf_name);
      const auto a = [=] {
        return input(rank * linear.columns, seed_of(from + ".lora_A"), kModelScale, "f32");
      };
      const auto b = [=] {
        const auto values =
            input(linear.rows * rank, seed_of(from + ".lora_B"), kModelScale, "f32");
        return paired_rows(values, linear, rank);
      };
      tensors.push_back(
          {.name = name + ".lora_a", .rows = rank, .columns = linear.columns, .values = a});
      tensors.push_back(
          {.name = name + ".lora_b", .rows = linear.rows, .columns = rank, .values = b});
    }
  }
  return tensors;
}

Metadata model_metadata(const Case& which) {
  Metadata metadata;
  metadata.add("general.architecture", "llama");
  metadata.add("llama.context_length", std::int64_t{4096});
  metadata.add("llama.embedding_length", which.size(kHidden));
  metadata.add("llama.block_count", which.size(kLayers));
  metadata.add("llama.feed_forward_length", which.size(kIntermediate));
  metadata.add("llama.attention.head_count", which.size(kHeads));
  metadata.add("llama.attention.head_count_kv", which.size(kKeyHeads));
  metadata.add("llama.attention.layer_norm_rms_epsilon", kNormEps);
  metadata.add("llama.rope.freq_base", 10000.0F);
  metadata.add("llama.rope.dimension_count", which.size(kHidden) / which.size(kHeads));
  metadata.add("llama.vocab_size", which.size(kVocabulary));
  metadata.add("tokenizer.ggml.model", "no_vocab");
  return metadata;
}

Metadata adapter_metadata(const Case& which) {
  Metadata metadata;
  metadata.add("general.architecture", "llama");
  metadata.add("general.type", "adapter");
  metadata.add("adapter.type", "lora");
  metadata.add("adapter.lora.alpha", kLoraScale * static_cast<float>(which.size(kRank)));
  return metadata;
}

}  // namespace

GgufFiles::GgufFiles(const Case& which)
    : folder_(std::filesystem::temp_directory_path() / fmt::format("wick-gguf-{}", getpid())) {
  std::filesystem::create_directories(folder_);
  try {
    write_file(model(), model_metadata(which), model_tensors(which));
    write_file(adapter(), adapter_metadata(which), adapter_tensors(which));
  } catch (...) {
    std::filesystem::remove_all(folder_);
    throw;
  }
}

GgufFiles::~GgufFiles() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace wick::bench

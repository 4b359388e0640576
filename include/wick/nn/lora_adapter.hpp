#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "wick/io/safetensors.hpp"
#include "wick/nn/linear.hpp"
#include "wick/nn/lora_config.hpp"

namespace wick {

/// What an adapter must know of the model that it changes.
struct LoraHost {
  std::vector<const Linear*> linears;
  std::string output_head;  ///< path of the layer that makes logits
  std::string model_type;   ///< chooses the default targets
  std::string base_model;   ///< written as base_model_name_or_path when the configuration has none
};

/// One adapter: a configuration and the tensors of each layer that it changes. Read and written as PEFT's folder
/// (adapter_config.json, adapter_model.safetensors).
class LoraAdapter {
  // Keeps the constructor to ourselves and yet open to make_shared.
  struct Private {
    explicit Private() = default;
  };

 public:
  /// For create() and load().
  LoraAdapter(Private, LoraConfig config) : config_(std::move(config)) {}
  /// A fresh adapter: A random from `seed`, B zero, magnitudes the row norms of the weights. In its configuration,
  /// target_modules that were left open or "all-linear" are spelled out, as PEFT does. Throws Error kArgument when the
  /// configuration fits no layer or has a number out of range, kUnsupported for an initialisation that is only read.
  static std::shared_ptr<LoraAdapter> create(const LoraConfig& config, const LoraHost& host,
                                             std::uint64_t seed);
  /// Reads a PEFT folder. Throws Error kIo, kParse; kShape and kArgument when a tensor does not fit the model, is missing or
  /// names a layer that is not there: the message names file and tensor.
  static std::shared_ptr<LoraAdapter> load(const std::filesystem::path& folder,
                                           const LoraHost& host);

  /// Writes the folder, made when absent: each file is replaced at once. Throws Error kIo.
  void save(const std::filesystem::path& folder) const;

  /// The configuration, unknown keys included.
  const LoraConfig& config() const noexcept { return config_; }
  /// Layers by module path.
  const std::map<std::string, std::shared_ptr<LoraLayer>>& layers() const noexcept {
    return layers_;
  }
  /// The tensors by the names they have in the file, sorted by name.
  NamedTensors tensors() const;
  /// Suffixes of target_modules that named no layer of the model.
  const std::vector<std::string>& unmatched() const noexcept { return unmatched_; }
  /// Makes every tensor ask for a gradient, or none.
  void set_trainable(bool trainable) const;
  /// Bytes of all tensors.
  std::int64_t num_bytes() const;
  /// Number of elements of all tensors.
  std::int64_t num_parameters() const;

 private:
  LoraConfig config_;
  std::map<std::string, std::shared_ptr<LoraLayer>> layers_;
  std::vector<std::string> unmatched_;
};

}  // namespace wick

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wick/io/safetensors.hpp"
#include "wick/models/model_config.hpp"
#include "wick/nn/linear.hpp"
#include "wick/nn/lora_adapter.hpp"

namespace wick {

/// How weights come into memory.
struct LoadOptions {
  Device device = kCpuDevice;
  /// convert the weights; by default they become compute_dtype where that is given as f16 or bf16, and else stay as they
  /// are stored; unconverted they are the file's mapped pages, on the CPU and where a GPU shares its memory (mps)
  std::optional<DType> dtype = {};
  /// what activations are; by default f32, but on CUDA the dtype of the weights when all matrices are f16 or all are bf16
  std::optional<DType> compute_dtype = {};
  /// round the rotary frequencies through this dtype, as PyTorch's model.to(bfloat16) does; by default they are f32, as
  /// after from_pretrained()
  std::optional<DType> rope_dtype = {};
};

/// An adapter that takes part, and how strongly.
struct ActiveAdapter {
  std::string name;
  double weight = 1;
};

/// What decoders and encoders have in common: weights by their names in the checkpoint, and adapters.
class Model {
 public:
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// The description that the model was built from.
  const ModelConfig& config() const noexcept { return config_; }
  /// The folder that it was loaded from; empty for a new model.
  const std::filesystem::path& folder() const noexcept { return folder_; }
  /// Where the weights are.
  Device device() const noexcept { return device_; }
  /// What activations are, between layers and in the key and value cache: f32, f16 or bf16.
  DType compute_dtype() const noexcept { return compute_dtype_; }
  /// The weights by their names in the checkpoint; tied ones once.
  const NamedTensors& parameters() const noexcept { return parameters_; }
  /// Number of elements of all weights.
  std::int64_t num_parameters() const;
  /// Bytes of all weights as they are held.
  std::int64_t num_bytes() const;
  /// All linear layers, in the model's order.
  const std::vector<std::unique_ptr<Linear>>& linears() const noexcept { return linears_; }
  /// The layer of this path, or nullptr.
  Linear* find_linear(std::string_view path) const;
  /// What an adapter must know of this model.
  LoraHost lora_host() const;

  /// Makes every weight ask for a gradient, for full fine-tuning. The weights must be f32 (LoadOptions::dtype). Throws Error
  /// kDtype otherwise.
  void set_trainable(bool trainable);

  /// Adds an adapter under a name; it takes part once it is active. Throws Error kArgument for a null pointer, a name in
  /// use and a layer that the model lacks, kShape for one of another size.
  void add_adapter(const std::string& name, std::shared_ptr<LoraAdapter> adapter);
  /// LoraAdapter::create() and add_adapter().
  std::shared_ptr<LoraAdapter> create_adapter(const std::string& name, const LoraConfig& config,
                                              std::uint64_t seed);
  /// LoraAdapter::load() and add_adapter().
  std::shared_ptr<LoraAdapter> load_adapter(const std::string& name,
                                            const std::filesystem::path& folder);
  /// Forgets an adapter, active or not. Throws Error kArgument for an unknown name, or when it is merged.
  void remove_adapter(const std::string& name);
  /// The adapters by name.
  const std::map<std::string, std::shared_ptr<LoraAdapter>>& adapters() const noexcept {
    return adapters_;
  }
  /// Chooses the adapters that take part from now on; the base stays where it is. Throws Error kArgument for an unknown
  /// name, a weight that is not finite, or while adapters are merged.
  void set_active_adapters(const std::vector<ActiveAdapter>& active);
  /// Adds the active adapters into the weights, for speed; unmerge_adapters() restores them to the bit.
  void merge_adapters();
  /// Takes merge_adapters() back.
  void unmerge_adapters();

  /// Writes config.json and model.safetensors (shards of at most `shard_bytes`, with an index) with the active adapters
  /// merged, in `dtype` or as the weights are held. An output head that is tied to the embedding and has an adapter
  /// becomes a weight of its own. Copies tokenizer, generation and pooling files of folder(). The folder must not exist
  /// or be empty: nothing is overwritten. Throws Error kIo, kArgument.
  void save_merged(const std::filesystem::path& folder, std::optional<DType> dtype = {},
                   std::int64_t shard_bytes = std::int64_t{5} << 30) const;
  /// Writes the same files into a folder that may have others; each is replaced at once. Throws Error kIo.
  void write_files(const std::filesystem::path& folder, std::optional<DType> dtype = {},
                   std::int64_t shard_bytes = std::int64_t{5} << 30) const;

 protected:
  Model(ModelConfig config, Device device) : config_(std::move(config)), device_(device) {}

  /// Decides what activations are, once the parameters are there. Throws Error kDtype unless that is floating.
  void choose_compute_dtype(std::optional<DType> wanted);
  /// Registers a layer; the reference stays valid.
  Linear& add_linear(const std::string& path, Tensor weight, Tensor bias);

  ModelConfig config_;
  std::filesystem::path folder_;
  Device device_;
  DType compute_dtype_ = DType::kF32;
  NamedTensors parameters_;
  std::string output_head_;

 private:
  bool unties_head() const;
  Tensor merged_parameter(const std::string& name, const Tensor& tensor) const;

  std::vector<std::unique_ptr<Linear>> linears_;
  std::map<std::string, std::shared_ptr<LoraAdapter>> adapters_;
};

}  // namespace wick

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "wick/ops/lora.hpp"
#include "wick/ops/random.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

/// What the layers of a model must know of the pass that they are part of.
struct PassContext {
  bool training = false;   ///< dropout is applied
  std::uint64_t seed = 0;  ///< of the dropout masks
  /// which of the seed's numbers: a [] i64 tensor on the model's device, or undefined. A training loop gives each
  /// micro-batch its own; it is read when the pass runs, so that a recorded one draws new numbers each time
  Tensor random = {};

  /// The stretch of random numbers that belongs to one module in this pass.
  RandomKey key_of(std::uint64_t module) const {
    return {.seed = seed, .offset = module << 36, .offset_base = random};
  }
};

/// The tensors and numbers of one adapter on one linear layer.
struct LoraLayer {
  Tensor a;            ///< [r,K] f32
  Tensor b;            ///< [N,r] f32
  Tensor magnitude;    ///< [N] f32 with DoRA, else undefined
  double scale = 1;    ///< lora_alpha / r or lora_alpha / √r
  double dropout = 0;  ///< of the adapter's input, when training
};

/// A layer as it takes part in the forward pass: with a factor for the adapter's contribution.
struct WeightedLora {
  std::shared_ptr<const LoraLayer> layer;
  double weight = 1;
};

class DoraGains;

/// A linear layer y = x Wᵀ + b with the adapters that are active on it.
class Linear {
 public:
  /// `path` is the module's name in the checkpoint ("model.layers.0.self_attn.q_proj"), `index` its number in the model.
  Linear(std::string path, std::uint64_t index, Tensor weight, Tensor bias);
  ~Linear();
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  /// The module's name in the checkpoint.
  const std::string& path() const noexcept { return path_; }
  /// [N,K]; with the adapters in it while they are merged.
  const Tensor& weight() const noexcept { return weight_; }
  /// [N] or undefined.
  const Tensor& bias() const noexcept { return bias_; }
  /// weight() as products with activations of this dtype take it: in their dtype when they have 16 bits.
  Tensor weight_for(DType activations) const;
  /// Size of the input's last axis: K.
  std::int64_t in_features() const { return weight_.dim(1); }
  /// Size of the result's last axis: N.
  std::int64_t out_features() const { return weight_.dim(0); }

  /// y = x Wᵀ + b + Σ weight · adapter(x). x […,K], result […,N] of x's dtype. Gradients reach x, the bias and every
  /// adapter. Merged adapters are part of W.
  Tensor forward(const Tensor& x, const PassContext& pass) const;
  /// forward() of one to three layers of one x: adapters read x together, and its gradient is made at once, where the
  /// layers' adapters allow it (one each, or none; no dropout, no DoRA).
  static std::vector<Tensor> forward_all(std::span<const Linear* const> layers, const Tensor& x,
                                         const PassContext& pass);
  /// down(swiglu(gate(x), up(x))), in one op where forward_all() would do gate and up at once and down's adapter allows it.
  static Tensor swiglu_mlp(const Linear& gate, const Linear& up, const Linear& down,
                           const Tensor& x, const PassContext& pass);

  /// Throws Error kShape when the adapter's tensors do not fit the weight.
  void check_fits(const LoraLayer& layer) const;
  /// Replaces the adapters that take part. Throws Error kShape when one does not fit the weight, kArgument while adapters
  /// are merged.
  void set_adapters(std::vector<WeightedLora> adapters);
  /// Takes one adapter out, if it is among them. Throws as set_adapters().
  void drop_adapter(const LoraLayer* layer);
  /// True when adapters take part, merged or not.
  bool has_adapters() const noexcept { return !adapters_.empty(); }
  /// True when the adapters that take part are in the weight.
  bool is_merged() const noexcept { return weight_before_merge_.defined(); }

  /// Grows whenever other adapters take part or the weight is another tensor: what was recorded before is of the past.
  std::uint64_t version() const noexcept { return version_; }

  /// Adds the active adapters into a copy of the weight, computed in f32 and rounded once to the weight's dtype;
  /// forward() then runs the plain product.
  void merge();
  /// Goes back to the weight as it was, to the bit.
  void unmerge();
  /// The weight that merge() makes: the weight itself when no adapter takes part.
  Tensor merged_weight() const;

 private:
  bool is_frozen() const;
  bool may_join(DType activations, const PassContext& pass) const;
  static bool may_all_join(std::span<const Linear* const> layers, const Tensor& x,
                           const PassContext& pass);
  LoraOperands operands_for(DType activations) const;
  Tensor plain(const Tensor& x) const;
  Tensor fused(const Tensor& x, const Tensor& a, const Tensor& b, const LoraOptions& options) const;
  Tensor adapted(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const;
  Tensor dora(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const;
  Tensor mixed(const Tensor& x, const PassContext& pass) const;
  Tensor contribution(const Tensor& x, const Tensor& base, const PassContext& pass,
                      const LoraLayer& layer) const;

  std::string path_;
  std::uint64_t index_;
  Tensor weight_;
  Tensor bias_;
  Tensor weight_before_merge_;
  Tensor no_a_;
  Tensor no_b_;
  std::vector<WeightedLora> adapters_;
  std::unique_ptr<DoraGains> gains_;
  std::uint64_t version_ = 0;
};

}  // namespace wick

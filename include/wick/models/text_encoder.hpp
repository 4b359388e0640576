#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "wick/models/model.hpp"

namespace wick {

class ParameterSource;

/// A BERT-style encoder that makes sentence embeddings by mean pooling.
class TextEncoder : public Model {
  // Keeps the constructor to ourselves and yet open to make_shared.
  struct Private {
    explicit Private() = default;
  };

 public:
  /// Reads a folder as CausalLm::load() does. A sentence-transformers folder's modules.json and 1_Pooling/config.json are
  /// read too: pooling other than the mean alone is refused with Error kUnsupported.
  static std::shared_ptr<TextEncoder> load(const std::filesystem::path& folder,
                                           const LoadOptions& options = {});
  /// For load().
  TextEncoder(Private, ModelConfig config, Device device);
  ~TextEncoder() override;

  /// The last hidden state. ids [B,T] i32 or i64; mask [B,T] bool, false for padding, or undefined; result [B,T,D]
  /// of compute_dtype(). Throws Error kShape, kArgument (an id outside the vocabulary, T above max_position_embeddings).
  Tensor hidden(const Tensor& ids, const Tensor& mask = {}, const PassContext& context = {}) const;
  /// Mean of the hidden states that mask keeps, scaled to length 1 unless the folder has a modules.json without a Normalize
  /// module.
  /// Result [B,D] f32. Throws as hidden().
  Tensor embed(const Tensor& ids, const Tensor& mask = {}, const PassContext& context = {}) const;
  /// True when embed() scales to length 1.
  bool normalizes() const noexcept { return normalizes_; }

 private:
  struct Layer;
  void build(ParameterSource& source);
  Tensor run_layer(const Layer& layer, const Tensor& x, const Tensor& mask,
                   const PassContext& context) const;

  Tensor word_embeddings_;
  Tensor position_embeddings_;
  Tensor token_type_embeddings_;
  Tensor embedding_norm_weight_;
  Tensor embedding_norm_bias_;
  std::vector<Layer> layers_;
  bool normalizes_ = true;
};

}  // namespace wick

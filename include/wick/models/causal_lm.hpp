#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "wick/models/model.hpp"
#include "wick/nn/kv_cache.hpp"
#include "wick/ops/cross_entropy.hpp"

namespace wick {

class ParameterSource;

/// One pass through a decoder.
struct CausalPass {
  Tensor positions = {};  ///< [B,T] or [T] i32/i64; undefined: 0 … T−1, after what the cache holds
  Tensor key_mask = {};   ///< [B,S] bool, false hides a key; S counts the cache's positions too
  Tensor segments = {};   ///< [B,S] i32: packed documents; undefined: one
  KvCache* cache = nullptr;  ///< read, appended to and advanced
  PassContext context = {};
  /// the first so many layers keep only their inputs and run again in backward(), which the model must live to see
  std::int64_t checkpointed_layers = 0;
  bool selective_checkpointing = false;  ///< layers run under a RecomputeGuard
};

/// A decoder that predicts the next token: Llama, Qwen2, Qwen3 and Mistral from one description.
class CausalLm : public Model {
  // Keeps the constructor to ourselves and yet open to make_shared.
  struct Private {
    explicit Private() = default;
  };

 public:
  /// Reads config.json and the safetensors of a folder. Throws Error kIo, kParse, kUnsupported as those readers do; kArgument
  /// and kShape naming the file and the tensor that is missing, extra or misshapen.
  static std::shared_ptr<CausalLm> load(const std::filesystem::path& folder,
                                        const LoadOptions& options = {});
  /// A new model with parameters of `dtype`: weights normal with config.initializer_range from `seed`, norms one, biases
  /// zero. `compute_dtype` is what activations are. Throws Error kArgument when the description is not of a decoder,
  /// kDtype when one of the dtypes is not floating.
  static std::shared_ptr<CausalLm> create(const ModelConfig& config, std::uint64_t seed,
                                          Device device = kCpuDevice,
                                          DType compute_dtype = DType::kF32,
                                          DType dtype = DType::kF32);
  /// For load() and create().
  CausalLm(Private, ModelConfig config, Device device);
  ~CausalLm() override;

  /// The last hidden state after the final norm. ids [B,T] i32 or i64; result [B,T,D] of
  /// compute_dtype(). Throws Error kShape, kArgument (an id outside the vocabulary; more positions than the cache holds), kUnsupported
  /// when a cache is given and a gradient would have to pass it.
  Tensor hidden(const Tensor& ids, const CausalPass& pass = {}) const;
  /// Scores of the next token. hidden […,D]; result […,V] f32; rounded to compute_dtype() first when an adapter is active
  /// on the output head.
  Tensor logits(const Tensor& hidden, const PassContext& context = {}) const;
  /// Cross-entropy of the next token without holding all logits. hidden [B,T,D]; targets [B,T] hold for each position the
  /// id that follows it, or options.ignore_index; result []. chunk_rows as in linear_cross_entropy().
  Tensor loss(const Tensor& hidden, const Tensor& targets, const CrossEntropyOptions& options = {},
              std::int64_t chunk_rows = 0, const PassContext& context = {}) const;

  /// A cache for `batch` sequences of at most `capacity` positions.
  KvCache make_cache(std::int64_t batch, std::int64_t capacity) const;

 private:
  struct Layer;
  void build(ParameterSource& source);
  /// What the layers have added up: `pending`, if defined, is not in `sum` yet.
  struct Residual {
    Tensor sum;
    Tensor pending = {};
  };
  Tensor normed(Residual& residual, const Tensor& weight) const;
  Residual run_layer(const Layer& layer, Residual residual, const Tensor& positions,
                     const CausalPass& pass) const;
  Tensor run_checkpointed(const Layer& layer, const Tensor& x, const Tensor& positions,
                          const CausalPass& pass) const;
  Tensor attend(const Layer& layer, const Tensor& x, const Tensor& positions,
                const CausalPass& pass) const;

  Tensor adapted_head_loss(const Tensor& x, const Tensor& targets,
                           const CrossEntropyOptions& options, std::int64_t chunk_rows,
                           const PassContext& context) const;

  Tensor embed_tokens_;
  std::vector<Layer> layers_;
  Tensor norm_;
  Linear* lm_head_ = nullptr;
  RopeFrequencies rope_;
};

}  // namespace wick

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "wick/models/causal_lm.hpp"

namespace wick::detail {

/// Logits of the next token, one row for each sequence.
struct NextLogits {
  std::vector<float> values;  ///< [B,V]
  std::int64_t vocab_size = 0;

  std::span<const float> row(std::size_t i) const {
    const auto size = static_cast<std::size_t>(vocab_size);
    return std::span<const float>(values).subspan(i * size, size);
  }
};

/// Sequences that a model continues together. Shorter prompts are padded on the left, so that all end in one column; a mask
/// hides the padding, and each row counts its positions from its own first token. Without padding neither is passed.
class DecodeBatch {
 public:
  /// `cache` holds nothing, or with one row what came before the prompt; it is kept by reference.
  DecodeBatch(const CausalLm& model, KvCache& cache) : model_(model), cache_(cache) {}

  /// Reads the prompts, one a row of the cache, `chunk` columns at a time.
  NextLogits prefill(std::span<const std::span<const std::int32_t>> prompts, std::int64_t chunk);
  /// Reads one more token of each row.
  NextLogits step(std::span<const std::int32_t> ids);
  /// Drops the other rows.
  void keep(const std::vector<std::int64_t>& rows);

 private:
  Tensor pass(std::span<const std::int32_t> ids);
  NextLogits logits_of_last(const Tensor& hidden) const;

  const CausalLm& model_;
  KvCache& cache_;
  std::vector<std::int64_t> padding_;  // columns before the first token of each row
  bool is_padded_ = false;
};

}  // namespace wick::detail

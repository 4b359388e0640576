#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "generate/recorded_step.hpp"
#include "wick/models/causal_lm.hpp"

namespace wick::detail {

/// Logits of the next token, one row for each sequence. They stay on the device until somebody looks at them.
class NextLogits {
 public:
  /// logits [B,1,V].
  explicit NextLogits(const Tensor& logits);

  /// All of row i, on the host.
  std::span<const float> row(std::size_t i);
  /// The first of the largest of row i. Nothing where a logit is no number or infinite, or none is finite.
  std::optional<std::int32_t> most_likely(std::size_t i);

 private:
  Tensor logits_;  // [B,V]
  std::vector<float> values_;
  std::vector<std::int64_t> best_;
  std::vector<float> largest_;
};

/// Sequences that a model continues together. Shorter prompts are padded on the left, so that all end in one column; a mask
/// hides the padding, and each row counts its positions from its own first token. Without padding neither is passed.
class DecodeBatch {
 public:
  /// `cache` holds nothing, or with one row what came before the prompt; it is kept by reference.
  /// Steps are recorded and repeated where the device can.
  DecodeBatch(const CausalLm& model, KvCache& cache)
      : DecodeBatch(model, cache, can_record(model.device())) {}
  /// As above; `records`: steps read ids and position from memory, as recorded ones must.
  DecodeBatch(const CausalLm& model, KvCache& cache, bool records)
      : model_(model), cache_(cache), records_(records) {}

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
  bool records_;
  std::optional<RecordedStep> recorded_;
};

}  // namespace wick::detail

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "wick/models/causal_lm.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::detail {

/// True when steps on the device can be recorded and repeated.
bool can_record(Device device);

/// One token of each row of a cache, as work that is recorded once and repeated: ids, positions and mask are read from
/// memory that stays, and attention looks at `visible` positions, of which the mask shows those that are filled. Its
/// first run makes what a device makes at the first use of a kernel, the second records.
class RecordedStep {
 public:
  /// Whether a model can look at more positions than `end`: a sliding window counts from the last of them.
  static bool suits(const ModelConfig& config, const KvCache& cache, std::int64_t end);

  /// For the steps from the cache's length on. `padding` has each row's columns before its first token.
  RecordedStep(const CausalLm& model, KvCache& cache, std::vector<std::int64_t> padding);
  ~RecordedStep();
  RecordedStep(const RecordedStep&) = delete;
  RecordedStep& operator=(const RecordedStep&) = delete;

  /// Steps end where the cache has this length.
  std::int64_t visible() const noexcept { return visible_; }
  /// Reads one more token of each row and answers the logits [B,1,V] of the next one: memory of the next run.
  Tensor run(std::span<const std::int32_t> ids);

 private:
  void write_inputs(std::span<const std::int32_t> ids);
  Tensor compute();
  void record(Stream& stream);

  const CausalLm& model_;
  KvCache& cache_;
  std::vector<std::int64_t> padding_;
  std::int64_t visible_;
  Tensor inputs_;  // i32: the ids, the positions, the cache's position
  Tensor key_mask_;
  Tensor logits_;
  bool has_run_ = false;
  std::unique_ptr<Graph> graph_;
};

}  // namespace wick::detail

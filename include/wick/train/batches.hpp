#pragma once

#include <cstdint>
#include <vector>

#include "wick/tensor/tensor.hpp"
#include "wick/train/dataset.hpp"

namespace wick {

/// How samples share the rows of a batch.
struct BatchOptions {
  std::int64_t batch_size = 4;  ///< rows
  /// with packing what a row holds at most. A batch is as long as its longest row, rounded up to a multiple of 8, with
  /// packing of a sixteenth of this, where that stays within this
  std::int64_t max_seq_length = 2048;
  /// several samples in one row, kept apart by the attention mask, each with positions from 0; otherwise one sample a row,
  /// samples of similar length together, padded on the right
  bool packing = false;
  bool shuffle = true;  ///< false: everything stays in the order of the files
  std::uint64_t seed = 0;
};

/// What one pass through the model takes, on the host.
struct MicroBatch {
  std::int64_t batch_size = 0;          ///< B
  std::int64_t length = 0;              ///< T
  std::vector<std::int32_t> ids;        ///< [B,T]: 0 for padding
  std::vector<std::int32_t> targets;    ///< [B,T]: the id that follows, or -100
  std::vector<std::int32_t> positions;  ///< [B,T]: from 0 in each sample, 0 for padding
  std::vector<std::int32_t> segments;   ///< [B,T]: number of the sample in its row, -1 for padding
  std::int64_t num_targets = 0;         ///< targets that are not -100
  std::int64_t num_tokens = 0;          ///< tokens that are not padding
};

/// The batches of one epoch. The same data set, options and epoch give the same batches everywhere.
class EpochPlan {
 public:
  /// Keeps a reference to the data set. Throws Error kArgument for an empty data set, sizes below 1, a negative epoch or,
  /// with packing, a sample longer than a row.
  EpochPlan(const Dataset& dataset, const BatchOptions& options, std::int64_t epoch);
  /// Number of micro-batches; every sample is in exactly one.
  std::int64_t size() const noexcept { return static_cast<std::int64_t>(batches_.size()); }
  /// Micro-batch i of [0, size()). Throws Error kArgument for another i.
  MicroBatch batch(std::int64_t i) const;
  /// Samples of micro-batch i, row by row. Throws Error kArgument for another i.
  const std::vector<std::vector<std::int64_t>>& rows(std::int64_t i) const;

 private:
  const Dataset& dataset_;
  std::int64_t max_seq_length_;
  std::int64_t length_step_;
  std::vector<std::vector<std::vector<std::int64_t>>> batches_;
};

/// Makes a micro-batch of one row per sample, padded on the right to the longest: for data that does not come from a
/// Dataset. Throws Error kArgument for no samples, an empty one, or one whose sizes differ.
MicroBatch pad_samples(const std::vector<Sample>& samples);

}  // namespace wick

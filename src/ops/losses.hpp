#pragma once

#include "ops/checks.hpp"
#include "runtime/args/cross_entropy_args.hpp"
#include "wick/ops/cross_entropy.hpp"

namespace wick::detail {

/// What both losses ask of targets and options, for N rows.
void check_loss(const Check& check, std::int64_t N, const Tensor& targets,
                const CrossEntropyOptions& options);

/// Rows of f32 logits over V classes that exist at a time when nobody says how many: on a GPU more, since a product of
/// few rows leaves most of it idle.
std::int64_t default_chunk_rows(std::int64_t V, Device device);

/// Running sums of a loss on the device.
struct LossSums {
  explicit LossSums(Device device);

  Tensor loss_sum, weight_sum, inv_weight;  ///< [] f32

  /// The loss as asked: the sum, or the sum times inv_weight.
  Tensor reduced(LossReduction reduction) const;
  /// What a gradient of the sum is multiplied with: inv_weight for a mean, else undefined (1).
  Tensor factor(LossReduction reduction) const;
};

/// The numbers of the options that gradients need.
struct LossConstants {
  explicit LossConstants(const CrossEntropyOptions& options);

  std::int64_t ignore_index;
  float label_smoothing;
};

/// Rows of logits, what they shall become, and what is computed for each.
struct LossRows {
  Tensor logits;        ///< [n,V]
  Tensor targets;       ///< [n]
  Tensor weights;       ///< [n] f32, or undefined
  Tensor lse;           ///< [n] f32: log Σ exp of each row
  Tensor dlogits = {};  ///< [n,V]: the gradient of the sum, where it is wanted at once
};

/// Adds rows to the sums; row 0 is row `first_row` of the whole, and the sums start anew where that is 0.
void launch_cross_entropy(const LossRows& rows, const LossSums& sums,
                          const LossConstants& constants, std::int64_t first_row = 0);

}  // namespace wick::detail

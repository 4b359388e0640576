#pragma once

#include <cstdint>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// How the losses of the rows become one number.
enum class LossReduction {
  kMean,  ///< Σ w · loss / Σ w over rows that are not ignored; 0 when Σ w is 0
  kSum,   ///< Σ w · loss
};

/// What a cross-entropy counts.
struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;  ///< rows with this target count nothing
  /// ε in [0, 1): part of the target that is uniform over the vocabulary
  double label_smoothing = 0;
  LossReduction reduction = LossReduction::kMean;
  Tensor token_weights = {};  ///< w: [N] f32, >= 0; undefined means 1 for each row
};

/// Cross-entropy of logits z against class indices t, row by row:
/// loss = (1 − ε)(log Σ exp z − z[t]) + ε (log Σ exp z − mean z).
///
/// Shapes: logits [N,V], V >= 1; targets [N]; out [].
/// Dtypes: logits f32, f16 or bf16; targets i32 or i64; out f32.
/// Errors: kShape, kDtype, kDevice; kArgument for a target outside [0, V) that is not ignored, with its row,
///   and for ε outside [0, 1).
/// Gradient: logits.
/// Source: Szegedy et al. 2015 (label smoothing), https://arxiv.org/abs/1512.00567
Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options = {});

/// Cross-entropy of the logits x Wᵀ without ever holding them all: rows are taken in chunks, and a chunk's
/// gradient is made while its logits exist.
///
/// Shapes: x [N,D]; weight W [V,D]; targets [N]; out []. chunk_rows rows at a time, 0 means as many as make
///   32 MiB of logits, on a GPU 256 MiB (at least 16).
/// Dtypes: x f32, f16 or bf16; weight x's dtype, or any floating one when x is f32; targets i32 or i64; out
///   f32. Logits are f32; their gradient is rounded to x's dtype.
/// Errors: as cross_entropy(), and kArgument for a negative chunk_rows.
/// Gradient: x, weight (when it requires one; then it accumulates in f32).
/// Source: as cross_entropy(); Hsu et al. 2024 (chunks), https://arxiv.org/abs/2410.10989
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets,
                            const CrossEntropyOptions& options = {}, std::int64_t chunk_rows = 0);

}  // namespace wick

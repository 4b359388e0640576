#pragma once

#include <cstdint>

namespace wick {
namespace mps {

struct AdamwKargs {
  int64_t numel;
  float beta1, one_minus_beta1, log_beta1;
  float beta2, one_minus_beta2, log_beta2;
  float corrected_lr;          ///< lr / (1 − β₁ᵗ); not of a step or lr in memory
  float inverse_correction_2;  ///< 1 / (1 − β₂ᵗ); not of a step in memory
  float lr, step;
  float eps, weight_decay;
  int32_t has_lr;    ///< whether lr is in memory
  int32_t has_step;  ///< whether the step is
};

struct SquaresKargs {
  int64_t numel;
  int64_t elements_each;  ///< of a threadgroup
};

struct NormOfKargs {
  int64_t count;
};

struct ClipKargs {
  int64_t numel;
  float max_norm;
  int32_t unused;
};

}  // namespace mps
}  // namespace wick

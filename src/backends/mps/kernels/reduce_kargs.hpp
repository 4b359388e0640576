#pragma once

#include <cstdint>

#include "backends/mps/strided_kargs.hpp"

namespace wick {
namespace mps {

/// A sum of the terms of `reduced` for each output of `kept`, cut into `parts` per output: part p takes the terms from
/// p · terms_per_part on. With one part the result is written, else the total of each part.
struct SumKargs {
  Loops<1> kept;
  Loops<1> reduced;
  int64_t terms_per_part;
  int64_t whole_factor;  ///< for integers
  float factor;          ///< for floating dtypes
  int32_t parts;
};

/// out [outputs] from the totals [outputs, parts].
struct FinishSumKargs {
  int64_t outputs;
  int64_t whole_factor;
  float factor;
  int32_t parts;
};

}  // namespace mps
}  // namespace wick

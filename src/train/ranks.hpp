#pragma once

#include <cstddef>
#include <string>

#include "base/json.hpp"
#include "wick/io/safetensors.hpp"
#include "wick/runtime/communicator.hpp"

namespace wick::detail {

/// True when micro-batch i of a step, or of an evaluation, is computed here: they are dealt to the ranks in turn. `ranks`
/// may be null: all are.
inline bool is_own(const Communicator* ranks, std::int64_t i) {
  return ranks == nullptr || i % ranks->size() == ranks->rank();
}

/// True on the rank that writes and prints.
inline bool is_first(const Communicator* ranks) { return ranks == nullptr || ranks->rank() == 0; }

/// What each rank found over its own micro-batches.
struct RankSums {
  double loss = 0;
  double targets = 0;
  bool is_stopped = false;  ///< afterwards: on any rank
};

/// Adds what the ranks found.
void all_reduce(Communicator& ranks, RankSums& sums);

/// Sums the parameters' gradients over the ranks. A rank without a gradient adds zeros; where no rank has one, none has one
/// afterwards.
void all_reduce_gradients(Communicator& ranks, const NamedTensors& parameters);

/// Throws Error kArgument on every rank whose settings or tensors are not those of rank 0, naming the first that differs.
void check_equal(Communicator& ranks, const Json& settings, const NamedTensors& tensors);

}  // namespace wick::detail

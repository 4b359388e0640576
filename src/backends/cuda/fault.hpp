#pragma once

#include <cstdint>

namespace wick::cuda {

/// Which operand a kernel found to break its op's contract.
enum class FaultKind : std::int32_t { kNone, kEmbeddingId, kTarget, kScatterIndex };

/// Who owns the record. A thread of the GPU takes a free one, fills it and makes it complete; the host takes a
/// complete one, reads it and sets it free. One that is held is nobody else's to touch.
enum FaultState : std::int32_t { kFaultFree, kFaultHeld, kFaultComplete };

/// What a kernel writes into host memory when an index in device memory is out of range: the launch is
/// over by then, so the Error comes at the next wait. One of those since the last wait is kept.
struct Fault {
  std::int32_t set;  ///< a FaultState
  FaultKind kind;
  std::int64_t position;
  std::int64_t value;
  std::int64_t bound;
};

}  // namespace wick::cuda

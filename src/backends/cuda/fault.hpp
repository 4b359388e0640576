#pragma once

#include <cstdint>

namespace wick::cuda {

/// Which operand a kernel found to break its op's contract.
enum class FaultKind : std::int32_t { kNone, kEmbeddingId, kTarget, kScatterIndex };

/// What a kernel writes into host memory when an index in device memory is out of range: the launch is
/// over by then, so the Error comes at the next wait. The first one since the last wait is kept.
struct Fault {
  std::int32_t set;
  FaultKind kind;
  std::int64_t position;
  std::int64_t value;
  std::int64_t bound;
};

}  // namespace wick::cuda

#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// Which operand a kernel found to break its op's contract.
enum FaultKind : int32_t { kFaultNone, kFaultEmbeddingId, kFaultTarget, kFaultScatterIndex };

/// What a kernel writes when an index in memory is out of range: the launch is over by then, so the Error comes at the
/// next wait. Each stream has one record; the first of several faults is kept.
struct FaultRecord {
  uint32_t count;  // of faults; the one that raised it from 0 writes the rest
  int32_t kind;    // a FaultKind
  int64_t position;
  int64_t value;
  int64_t bound;
};

}  // namespace mps
}  // namespace wick

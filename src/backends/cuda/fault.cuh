#pragma once

#include "backends/cuda/fault.hpp"

namespace wick::cuda {

/// Records that `value` at `position` of the operand is outside [0,bound), unless a fault is recorded already.
/// The host finds the record, complete, at its next wait. It never takes a free record, so that an atomic among
/// the threads of this GPU is enough.
__device__ inline void report_fault(Fault* fault, FaultKind kind, std::int64_t position,
                                    std::int64_t value, std::int64_t bound) {
  volatile Fault* const record = fault;
  // Looked at first: a batch full of bad indices would cross the bus once per index otherwise.
  if (record->set != kFaultFree) return;
  if (atomicCAS(&fault->set, kFaultFree, kFaultHeld) != kFaultFree) return;
  record->kind = kind;
  record->position = position;
  record->value = value;
  record->bound = bound;
  __threadfence_system();  // the fields are there before the record counts as complete
  record->set = kFaultComplete;
}

}  // namespace wick::cuda

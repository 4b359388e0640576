#pragma once

#include "runtime/backend.hpp"
#include "runtime/describe.hpp"
#include "runtime/kernel_table.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

/// Throws what a refusing kernel means: Error kUnsupported or kArgument with the operands.
[[noreturn]] void throw_refused(std::string_view op, Device device, const KernelStatus& status,
                                std::vector<Operand> operands);

/// Enqueues `kernel` on the current stream of `device` and returns what it answers. For ops that
/// have a composition to fall back on; all others use launch().
template <class Args>
KernelStatus try_launch(const Kernel<Args>& kernel, Device device, const Args& args) {
  return (backend_of(device).kernels().*kernel.entry)(current_stream(device), args);
}

/// Enqueues `kernel` on the current stream of `device`; throws when it refuses. Args must provide
/// for_each_view(visitor).
template <class Args>
void launch(const Kernel<Args>& kernel, Device device, const Args& args) {
  const KernelStatus status = try_launch(kernel, device, args);
  if (!status.is_ok()) throw_refused(kernel.name, device, status, describe(args));
}

}  // namespace wick

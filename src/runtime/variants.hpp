#pragma once

#include <span>
#include <string>
#include <string_view>

#include "runtime/kernel_status.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

/// One way to run a kernel, by name.
template <class Args>
struct Variant {
  std::string_view name;
  KernelStatus (*run)(Stream&, const Args&);
};

/// Runs the first variant that accepts the call, or only the forced one. The last variant of a list
/// takes everything its op allows. Refusals are collected into the answer when none accepts.
template <class Args>
KernelStatus run_variants(std::string_view kernel, std::span<const Variant<Args>> variants,
                          Stream& stream, const Args& args) {
  const std::string forced = forced_variant(kernel);
  std::string reasons;
  for (const Variant<Args>& variant : variants) {
    if (!forced.empty() && variant.name != forced) continue;
    KernelStatus status = variant.run(stream, args);
    if (!status.is_unsupported()) return status;
    reasons += (reasons.empty() ? "" : "; ") + std::string(variant.name) + ": " + status.reason();
  }
  return KernelStatus::unsupported(reasons.empty() ? "the forced variant is not on this device"
                                                   : reasons);
}

}  // namespace wick

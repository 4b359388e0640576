#pragma once

#include <span>
#include <string_view>

#include "backends/mps/mps_backend.hpp"
#include "backends/mps/way_table.hpp"
#include "runtime/variants.hpp"

namespace wick::mps {

/// The ways of a kernel, best first where nothing was measured.
template <class Args>
struct Ways {
  std::span<const Variant<Args>> all;
  std::span<const Variant<Args>>
      of_small_calls;  ///< those that are tried where MPS has nothing to gain
};

/// Runs one way of a call: `only`, or where it is empty the one that the user forces, or the one that was measured to be
/// best, or the first that takes it.
template <class Args>
KernelStatus run_ways(Stream& stream, const CallShape& shape, const Ways<Args>& ways,
                      const Args& args, bool is_small, std::string_view only = {}) {
  const auto run = [&](std::string_view name) {
    for (const Variant<Args>& way : ways.all) {
      if (way.name == name) return way.run(stream, args);
    }
    return KernelStatus::unsupported("there is no such way");
  };
  if (!only.empty()) return run(only);
  const std::string_view measured = mps_stream(stream).backend().best_way(shape);
  const std::string_view kernel = name_of(shape.kernel);
  const bool is_free = forced_variant(kernel).empty();
  if (is_free && !measured.empty()) {
    KernelStatus status = run(measured);
    if (!status.is_unsupported()) return status;  // it may know the shape and not the strides
  }
  return run_variants<Args>(kernel, is_free && is_small ? ways.of_small_calls : ways.all, stream,
                            args);
}

}  // namespace wick::mps

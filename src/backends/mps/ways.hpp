#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "backends/mps/mps_backend.hpp"
#include "backends/mps/products.hpp"
#include "backends/mps/way_table.hpp"
#include "base/check.hpp"
#include "runtime/variants.hpp"

namespace wick::mps {

/// Runs one way of a call: `only`, or where it is empty the one that the user forces, or the one that was measured to be
/// best, or the first that is usual for the shape and takes it. `ways` are those of ways_of(shape.kernel), in their order.
template <class Args>
KernelStatus run_ways(Stream& stream, const CallShape& shape,
                      std::type_identity_t<std::span<const Variant<Args>>> ways, const Args& args,
                      std::string_view only = {}) {
  detail::check(std::ranges::equal(ways, ways_of(shape.kernel), {}, &Variant<Args>::name),
                "the ways of a kernel are those of its table");
  const auto run = [&](std::string_view name) {
    const auto found = std::ranges::find(ways, name, &Variant<Args>::name);
    return found == ways.end() ? KernelStatus::unsupported("there is no such way")
                               : found->run(stream, args);
  };
  if (!only.empty()) return run(only);
  const std::string_view measured = mps_stream(stream).backend().best_way(shape);
  const std::string_view kernel = name_of(shape.kernel);
  const bool is_free = forced_variant(kernel).empty();
  if (is_free && !measured.empty()) {
    KernelStatus status = run(measured);
    if (!status.is_unsupported()) return status;  // it may know the shape and not the strides
  }
  constexpr std::size_t kMostWays = 8;
  std::array<Variant<Args>, kMostWays> tried;
  const auto end = std::copy_if(ways.begin(), ways.end(), tried.begin(), [&](const auto& way) {
    return !is_free || is_usual(way.name, shape);
  });
  return run_variants<Args>(kernel, {tried.begin(), end}, stream, args);
}

}  // namespace wick::mps

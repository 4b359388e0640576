#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "harness/inputs.hpp"
#include "harness/op_spec.hpp"
#include "wick/runtime/memory.hpp"

namespace wick::testing {

/// One run of a case, and what it found to be wrong.
struct Context {
  const OpSpec& spec;
  const OpCase& op_case;
  DType dtype;
  Device device;
  std::vector<std::string> failures = {};

  std::uint64_t seed() const { return seed_of(spec.op, op_case.name); }

  void fail(std::string what) {
    failures.push_back(fmt::format("{} / {} {} on {}: {} (seed {}; replay: --gtest_filter='*{}*')",
                                   spec.op, op_case.name, to_string(dtype), to_string(device), what,
                                   seed(), spec.op));
  }
};

/// While it lives, allocations are poisoned and fenced; a write outside one is a failure at the end.
class Guarded {
 public:
  explicit Guarded(Context& context)
      : context_(context), before_(memory_stats(context.device).guard_violations) {
    set_allocation_guard(context.device, true);
  }
  ~Guarded() {
    set_allocation_guard(context_.device, false);
    const std::int64_t seen = memory_stats(context_.device).guard_violations - before_;
    if (seen > 0) context_.fail(fmt::format("{} blocks were written outside of", seen));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

 private:
  Context& context_;
  std::int64_t before_;
};

/// By how many roundings the error of a sum of so many terms may grow.
inline double growth(double length) { return 8 + 2 * std::sqrt(length); }

/// The least normal number, of f16 the least of all: nothing smaller is told from 0.
inline double smallest(DType dtype) {
  if (dtype == DType::kF16) return 0x1p-24;
  return dtype == DType::kF32 || dtype == DType::kBF16 ? 0x1p-126 : 0;
}

/// Of the finite elements.
inline double largest_magnitude(const Array& array) {
  double most = 0;
  for (const double value : array.data) {
    if (std::isfinite(value)) most = std::max(most, std::abs(value));
  }
  return most;
}

}  // namespace wick::testing

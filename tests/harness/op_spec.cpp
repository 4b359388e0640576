#include "harness/op_spec.hpp"

#include <cmath>
#include <limits>
#include <utility>

namespace wick::testing {

Values normal(double std, double mean) {
  return [=](Rng& rng, std::int64_t, std::int64_t) {
    return std::normal_distribution<double>(mean, std)(rng);
  };
}

Values uniform(double low, double high) {
  return [=](Rng& rng, std::int64_t, std::int64_t) {
    return std::uniform_real_distribution<double>(low, high)(rng);
  };
}

Values integers(std::int64_t low, std::int64_t high) {
  return [=](Rng& rng, std::int64_t, std::int64_t) {
    return static_cast<double>(std::uniform_int_distribution<std::int64_t>(low, high - 1)(rng));
  };
}

Values constant(double value) {
  return [=](Rng&, std::int64_t, std::int64_t) { return value; };
}

Values listed(std::vector<double> values) {
  return [values = std::move(values)](Rng&, std::int64_t i, std::int64_t) {
    return values[static_cast<std::size_t>(i) % values.size()];
  };
}

Values specials() {
  return [](Rng& rng, std::int64_t i, std::int64_t) {
    constexpr double kInf = std::numeric_limits<double>::infinity();
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kStrewn[] = {kNan, kInf, -kInf, 0.0, -0.0, 1e4, -1e4, 1e-30};
    if (i % 5 == 3) return kStrewn[static_cast<std::size_t>(i / 5) % std::size(kStrewn)];
    return std::normal_distribution<double>()(rng);
  };
}

std::vector<OpSpec> all_specs() {
  std::vector<OpSpec> specs;
#define WICK_OP(id, gradient) specs.push_back(spec_##id());
#include "runtime/op_catalog.def"
  return specs;
}

std::string gradient_kind(std::string_view op) {
#define WICK_OP(id, gradient) \
  if (op == #id) return #gradient;
#include "runtime/op_catalog.def"
  return "unknown";
}

}  // namespace wick::testing

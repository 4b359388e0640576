#include "backends/cpu/exponentials.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cpu/instruction_set.hpp"

namespace wick::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = -87.33F;  // e^x is normal from here on
constexpr float kHighest = 88.0F;

std::vector<float> exponentials_of(std::vector<float> x) {
  exponentials(x.data(), static_cast<std::int64_t>(x.size()));
  return x;
}

void on_each_instruction_set(const std::function<void()>& body) {
  for (const std::string_view name : instruction_sets()) {
    SCOPED_TRACE(std::string(name));
    select_instruction_set(name);
    body();
  }
  select_instruction_set("");
}

// Numbers of one sign up to `last` in size, a prime number of steps apart, so that all lowest bits occur.
std::vector<float> sweep(float sign, float last) {
  constexpr std::uint32_t kStep = 1499;
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits <= std::bit_cast<std::uint32_t>(last); bits += kStep) {
    x.push_back(sign * std::bit_cast<float>(bits));
  }
  x.push_back(sign * last);
  return x;
}

// What is promised: 1.2e-7 and 2.8e-9 for each unit of |x|.
void expect_near(const std::vector<float>& x) {
  const std::vector<float> got = exponentials_of(x);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    const double error = std::abs(static_cast<double>(got[i]) - exact) / exact;
    const double allowed = 1.2e-7 + 2.8e-9 * std::abs(static_cast<double>(x[i]));
    if (!(error <= allowed)) FAIL() << "e^" << x[i] << " is off by " << error;
    worst = std::max(worst, error);
  }
  EXPECT_GT(worst, 0);
}

TEST(Exp, IsNearTheExactOne) {
  on_each_instruction_set([] {
    expect_near(sweep(-1, -kLowest));
    expect_near(sweep(1, kHighest));
  });
}

TEST(Exp, OfZeroIsOne) {
  on_each_instruction_set([] {
    for (const float one : exponentials_of(std::vector<float>(33, 0.0F))) EXPECT_EQ(one, 1.0F);
    EXPECT_EQ(exponentials_of({-0.0F}).front(), 1.0F);
  });
}

TEST(Exp, IsZeroWhereItWouldBeSubnormal) {
  std::vector<float> low = {std::nextafter(kLowest, -kInfinity),
                            -87.5F,
                            -88.0F,
                            -88.1F,
                            -104.0F,
                            -65504.0F,
                            -1e9F,
                            -1e30F,
                            std::numeric_limits<float>::lowest(),
                            -kInfinity};
  for (float x = -87.331F; x > -1e6F; x *= 1.0001F) low.push_back(x);
  on_each_instruction_set([&] {
    const std::vector<float> got = exponentials_of(low);
    for (std::size_t i = 0; i < low.size(); ++i) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got[i]), 0U) << "e^" << low[i];
    }
  });
}

// Also one whose lowest bits look like an integer to be added to an exponent.
TEST(Exp, OfNanIsNan) {
  std::vector<float> nans = {std::bit_cast<float>(0xFFFFFFFFU), std::bit_cast<float>(0x7FFFFFFFU)};
  for (const std::uint32_t quiet : {0x7FC00000U, 0xFFC00000U}) {
    for (std::uint32_t payload = 0; payload < 4096; ++payload) {
      nans.push_back(std::bit_cast<float>(quiet + payload));
    }
  }
  on_each_instruction_set([&] {
    for (const float got : exponentials_of(nans)) EXPECT_TRUE(std::isnan(got)) << got;
  });
}

}  // namespace
}  // namespace wick::cpu

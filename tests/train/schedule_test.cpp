#include "wick/train/schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "wick/base/error.hpp"

namespace wick {

namespace {

// The factors as transformers' optimization.py computes them, for a scheduler that was stepped `done` times.
double reference_factor(ScheduleType type, std::int64_t done, std::int64_t warmup,
                        std::int64_t total) {
  const auto s = static_cast<double>(done);
  const auto w = static_cast<double>(warmup);
  const auto n = static_cast<double>(total);
  if (done < warmup) return s / std::max(1.0, w);
  if (type == ScheduleType::kConstant) return 1;
  if (type == ScheduleType::kLinear) return std::max(0.0, (n - s) / std::max(1.0, n - w));
  const double progress = (s - w) / std::max(1.0, n - w);
  return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * 0.5 * 2 * progress)));
}

std::string error_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kArgument);
    return error.what();
  }
  return "no error";
}

TEST(Schedule, CosineWithWarmUpGivesTheRatesOfARecordedRun) {
  constexpr std::array kRates = {0.0,
                                 0.01,
                                 0.02,
                                 0.019238795325112867,
                                 0.017071067811865476,
                                 0.0138268343236509,
                                 0.01,
                                 0.006173165676349103,
                                 0.0029289321881345253,
                                 0.0007612046748871326};
  const Schedule schedule{
      .type = ScheduleType::kCosine, .learning_rate = 2e-2, .warmup_steps = 2, .total_steps = 10};
  for (std::size_t i = 0; i < kRates.size(); ++i) {
    EXPECT_NEAR(schedule.at(static_cast<std::int64_t>(i) + 1), kRates[i], 1e-15)
        << "step " << i + 1;
  }
}

TEST(Schedule, EveryTypeFollowsTheReference) {
  for (const auto type : {ScheduleType::kConstant, ScheduleType::kLinear, ScheduleType::kCosine}) {
    for (const std::int64_t total : {1, 2, 7, 100, 1000}) {
      for (const std::int64_t warmup : {0, 1, 3, 99, 2000}) {
        const Schedule schedule{
            .type = type, .learning_rate = 1, .warmup_steps = warmup, .total_steps = total};
        for (std::int64_t step = 1; step <= total; ++step) {
          ASSERT_NEAR(schedule.at(step), reference_factor(type, step - 1, warmup, total), 1e-15)
              << to_string(type) << ", step " << step << " of " << total << ", warm-up " << warmup;
        }
      }
    }
  }
}

TEST(Schedule, EndsAtTheSmallestRateAndStaysThere) {
  for (const auto type : {ScheduleType::kLinear, ScheduleType::kCosine}) {
    Schedule schedule{.type = type, .learning_rate = 2, .warmup_steps = 5, .total_steps = 20};
    EXPECT_NEAR(schedule.at(21), 0, 1e-15);
    schedule.min_lr_ratio = 0.1;
    EXPECT_DOUBLE_EQ(schedule.at(6), 2);
    EXPECT_DOUBLE_EQ(schedule.at(21), 0.2);
    EXPECT_DOUBLE_EQ(schedule.at(1000), 0.2);
    EXPECT_DOUBLE_EQ(schedule.at(1), 0) << "warm-up begins at zero";
  }
  const Schedule constant{
      .type = ScheduleType::kConstant, .learning_rate = 2, .total_steps = 20, .min_lr_ratio = 0.1};
  EXPECT_DOUBLE_EQ(constant.at(20), 2);
}

TEST(Schedule, MinimumLiftsTheWholeCurve) {
  const Schedule schedule{
      .type = ScheduleType::kLinear, .learning_rate = 1, .total_steps = 4, .min_lr_ratio = 0.2};
  EXPECT_NEAR(schedule.at(3), 0.2 + 0.8 * 0.5, 1e-15);
}

TEST(Schedule, StepsCountFromOne) {
  EXPECT_EQ(error_of([] { (void)Schedule{}.at(0); }), "schedule: steps count from 1, got 0");
}

TEST(Schedule, NamesAreReadAndWritten) {
  for (const auto type : {ScheduleType::kConstant, ScheduleType::kLinear, ScheduleType::kCosine}) {
    EXPECT_EQ(parse_schedule_type(to_string(type)), type);
  }
  EXPECT_EQ(parse_schedule_type("constant_with_warmup"), ScheduleType::kConstant);
  EXPECT_EQ(error_of([] { parse_schedule_type("cosinus"); }),
            "schedule: there is no learning rate schedule \"cosinus\"; the names are constant, "
            "constant_with_warmup, linear, cosine");
}

}  // namespace

}  // namespace wick

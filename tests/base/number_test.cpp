#include "base/number.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <locale>
#include <string>

namespace wick::detail {

namespace {

double number(std::string_view text) {
  double value = -77;
  EXPECT_TRUE(read_number(text, value)) << text;
  return value;
}

TEST(Number, DecimalNumbers) {
  EXPECT_EQ(number("0"), 0);
  EXPECT_EQ(number("-12"), -12);
  EXPECT_EQ(number("0.1"), 0.1);
  EXPECT_EQ(number(".5"), 0.5);
  EXPECT_EQ(number("5."), 5);
  EXPECT_EQ(number("1e-3"), 1e-3);
  EXPECT_EQ(number("-2.5E+3"), -2500);
  EXPECT_EQ(number("179769313486231570814527423731704356798070e267"),
            std::numeric_limits<double>::max());
  EXPECT_EQ(number("0.1000000000000000055511151231257827021181583404541015625"), 0.1);
  EXPECT_EQ(number("2.2250738585072014e-308"), std::numeric_limits<double>::min());
}

TEST(Number, WhatIsNoDecimalNumberLeavesTheValue) {
  for (const std::string text :
       {"",     "-",   ".",    "-.",  "e5",    "1e",     "1e+",   "+1",  " 1", "1 ", "1,5",
        "0x10", "inf", "-inf", "nan", "1e999", "-1e999", "1.2.3", "--1", "1-", "1f"}) {
    double value = 7;
    EXPECT_FALSE(read_number(text, value)) << text;
    EXPECT_EQ(value, 7) << text;
  }
  double value = 7;
  EXPECT_FALSE(read_number(std::string_view("1\0", 2), value));
}

TEST(Number, TheLocaleDoesNotMatter) {
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale(), new Comma));
  EXPECT_EQ(number("1.5"), 1.5);
  EXPECT_EQ(number("1234567.25"), 1234567.25);
  double value = 0;
  EXPECT_FALSE(read_number("1,5", value));
  std::locale::global(before);
}

TEST(Number, WholeNumbers) {
  std::int64_t value = 0;
  EXPECT_TRUE(read_number("-9223372036854775808", value));
  EXPECT_EQ(value, std::numeric_limits<std::int64_t>::min());
  for (const std::string text :
       {"", "9223372036854775808", "1.0", "1e3", "+1", " 1", "1 ", "0x1"}) {
    EXPECT_FALSE(read_number(text, value)) << text;
  }
  EXPECT_EQ(value, std::numeric_limits<std::int64_t>::min());
}

}  // namespace

}  // namespace wick::detail

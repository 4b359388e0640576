// Half and BFloat16 against a slow conversion, written from the definition of the formats: it
// counts units in the last place in double, where every step is exact.

#include "wick/base/float16.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace wick {

namespace {

// A binary format with a sign bit, `exponent_bits` and `fraction_bits`.
struct Format {
  int exponent_bits;
  int fraction_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int smallest_exponent() const { return 1 - bias(); }
  std::uint32_t infinity() const { return ((1U << exponent_bits) - 1U) << fraction_bits; }
};

constexpr Format kHalf{5, 10};
constexpr Format kBFloat16{8, 7};

// The magnitude that the bits below the sign stand for; not for infinity and NaN.
double decode(const Format& format, std::uint32_t bits) {
  const auto fraction = static_cast<double>(bits & ((1U << format.fraction_bits) - 1U));
  const auto field = static_cast<int>(bits >> format.fraction_bits);
  const int exponent = field == 0 ? format.smallest_exponent() : field - format.bias();
  const double one = field == 0 ? 0.0 : 1.0;
  return std::ldexp(one + std::ldexp(fraction, -format.fraction_bits), exponent);
}

// Bits of the number nearest to a magnitude, ties to even; infinity when past the largest by half
// a unit or more.
std::uint32_t encode(const Format& format, double magnitude) {
  if (std::isinf(magnitude)) return format.infinity();
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude in [2^(exponent-1), 2^exponent)
  const int leading = magnitude == 0 ? format.smallest_exponent()
                                     : std::max(exponent - 1, format.smallest_exponent());
  const double unit = std::ldexp(1.0, leading - format.fraction_bits);
  const double units = magnitude / unit;
  double whole = std::floor(units);
  const double rest = units - whole;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(whole, 2.0) == 1.0)) whole += 1;
  // A carry out of the fraction runs into the exponent field by itself.
  const auto field = static_cast<std::uint32_t>(leading - format.smallest_exponent());
  const std::uint32_t bits = (field << format.fraction_bits) + static_cast<std::uint32_t>(whole);
  return std::min(bits, format.infinity());
}

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

template <class Small>
struct Traits;
template <>
struct Traits<Half> {
  static constexpr Format kFormat = kHalf;
  static constexpr std::uint16_t kQuietBit = 0x0200;
};
template <>
struct Traits<BFloat16> {
  static constexpr Format kFormat = kBFloat16;
  static constexpr std::uint16_t kQuietBit = 0x0040;
};

template <class Small>
Small from_bits(std::uint32_t bits) {
  Small value;
  value.bits = static_cast<std::uint16_t>(bits);
  return value;
}

// Counts instead of failing at once: a broken conversion would print thousands of lines.
template <class Small>
struct Mismatches {
  std::int64_t count = 0;
  std::int64_t checked = 0;
  std::uint32_t first = 0;

  void expect(float value) {
    const Format format = Traits<Small>::kFormat;
    const std::uint32_t sign = (bits_of(value) >> 16) & 0x8000U;
    const std::uint32_t wanted = sign | encode(format, std::abs(static_cast<double>(value)));
    ++checked;
    if (Small(value).bits == wanted) return;
    if (count == 0) first = bits_of(value);
    ++count;
  }
  // The float with these bits and its neighbours, with both signs.
  void expect_around(std::uint32_t bits, std::uint32_t distance) {
    const std::uint32_t low = bits > distance ? bits - distance : 0;
    for (std::uint32_t near = low; near <= bits + distance && near < 0x7F800000U; ++near) {
      expect(std::bit_cast<float>(near));
      expect(std::bit_cast<float>(near | 0x80000000U));
    }
  }
};

template <class Small>
class Float16 : public ::testing::Test {};

using Smalls = ::testing::Types<Half, BFloat16>;
TYPED_TEST_SUITE(Float16, Smalls);

TYPED_TEST(Float16, EveryFiniteValueIsDecodedAsTheFormatSays) {
  const Format format = Traits<TypeParam>::kFormat;
  for (std::uint32_t bits = 0; bits < format.infinity(); ++bits) {
    const double wanted = decode(format, bits);
    ASSERT_EQ(static_cast<double>(static_cast<float>(from_bits<TypeParam>(bits))), wanted) << bits;
    const auto negative = static_cast<float>(from_bits<TypeParam>(bits | 0x8000U));
    ASSERT_EQ(static_cast<double>(negative), -wanted) << bits;
    ASSERT_TRUE(std::signbit(negative)) << bits;
  }
}

TYPED_TEST(Float16, AllValuesRoundTrip) {
  const Format format = Traits<TypeParam>::kFormat;
  for (std::uint32_t bits = 0; bits <= 0xFFFFU; ++bits) {
    const auto wide = static_cast<float>(from_bits<TypeParam>(bits));
    const bool is_nan = (bits & 0x7FFFU) > format.infinity();
    ASSERT_EQ(std::isnan(wide), is_nan) << bits;
    // A signalling NaN comes back as the quiet one with the same payload.
    const std::uint32_t wanted = is_nan ? bits | Traits<TypeParam>::kQuietBit : bits;
    ASSERT_EQ(TypeParam(wide).bits, wanted) << bits;
  }
}

TYPED_TEST(Float16, InfinityStays) {
  const Format format = Traits<TypeParam>::kFormat;
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(TypeParam(infinity).bits, format.infinity());
  EXPECT_EQ(TypeParam(-infinity).bits, format.infinity() | 0x8000U);
  EXPECT_EQ(static_cast<float>(TypeParam(infinity)), infinity);
  EXPECT_EQ(static_cast<float>(TypeParam(-infinity)), -infinity);
}

TYPED_TEST(Float16, EveryNaNStaysAQuietNaNOfItsSign) {
  const Format format = Traits<TypeParam>::kFormat;
  std::vector<std::uint32_t> payloads{1,       2,        0x1FFF,   0x2000,  0xFFFF,
                                      0x10000, 0x3FFFFF, 0x400000, 0x7FFFFF};
  std::mt19937 random(11);
  for (int i = 0; i < 10000; ++i) payloads.push_back((random() & 0x7FFFFFU) | 1U);
  for (const std::uint32_t payload : payloads) {
    for (const std::uint32_t sign : {0U, 0x80000000U}) {
      const TypeParam small(std::bit_cast<float>(sign | 0x7F800000U | payload));
      ASSERT_GT(small.bits & 0x7FFFU, format.infinity()) << payload;
      ASSERT_NE(small.bits & Traits<TypeParam>::kQuietBit, 0U) << payload;
      ASSERT_EQ(small.bits & 0x8000U, sign >> 16) << payload;
    }
  }
}

TYPED_TEST(Float16, RoundsAroundEveryValueAndEveryMidpoint) {
  const Format format = Traits<TypeParam>::kFormat;
  Mismatches<TypeParam> mismatches;
  for (std::uint32_t bits = 0; bits < format.infinity(); ++bits) {
    const double here = decode(format, bits);
    // Past the largest value the next one would be, had the format another exponent.
    const double next = bits + 1 < format.infinity() ? decode(format, bits + 1)
                                                     : std::ldexp(1.0, format.bias() + 1);
    mismatches.expect_around(bits_of(static_cast<float>(here)), 2);
    // The midpoint is a float: float has at least one more fraction bit everywhere.
    mismatches.expect_around(bits_of(static_cast<float>((here + next) / 2)), 2);
  }
  EXPECT_EQ(mismatches.count, 0) << "first at float bits " << mismatches.first;
  EXPECT_GT(mismatches.checked, 4 * 2 * 30000);
}

TYPED_TEST(Float16, RoundsRandomFloats) {
  Mismatches<TypeParam> mismatches;
  std::mt19937 random(7);
  for (int i = 0; i < 2'000'000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isnan(value)) mismatches.expect(value);
  }
  // Most random bit patterns are out of half's range: these are not.
  std::uniform_real_distribution<float> exponent(-27.0F, 18.0F);
  for (int i = 0; i < 500'000; ++i) {
    const float magnitude = std::exp2(exponent(random));
    mismatches.expect((random() & 1U) != 0 ? magnitude : -magnitude);
  }
  EXPECT_EQ(mismatches.count, 0) << "first at float bits " << mismatches.first;
  EXPECT_GT(mismatches.checked, 2'000'000);
}

TYPED_TEST(Float16, FloatSubnormalsAndExtremes) {
  Mismatches<TypeParam> mismatches;
  mismatches.expect_around(0, 300);                      // the smallest subnormal floats
  mismatches.expect_around(0x00800000U, 300);            // around the smallest normal float
  mismatches.expect_around(0x7F7FFFFFU, 70000);          // the largest floats
  for (std::uint32_t field = 0; field < 255; ++field) {  // each power of two
    mismatches.expect_around(field << 23, 40);
  }
  EXPECT_EQ(mismatches.count, 0) << "first at float bits " << mismatches.first;
}

TEST(Half, KnownValues) {
  EXPECT_EQ(Half(0.0F).bits, 0x0000);
  EXPECT_EQ(Half(-0.0F).bits, 0x8000);
  EXPECT_EQ(Half(1.0F).bits, 0x3C00);
  EXPECT_EQ(Half(-2.0F).bits, 0xC000);
  EXPECT_EQ(Half(65504.0F).bits, 0x7BFF);                        // the largest
  EXPECT_EQ(Half(65519.996F).bits, 0x7BFF);                      // just below the tie
  EXPECT_EQ(Half(65520.0F).bits, 0x7C00);                        // the tie goes to infinity
  EXPECT_EQ(Half(1e30F).bits, 0x7C00);                           // overflow
  EXPECT_EQ(Half(1.0F + 0x1p-11F).bits, 0x3C00);                 // tie to even, down
  EXPECT_EQ(Half(1.0F + 0x3p-11F).bits, 0x3C02);                 // tie to even, up
  EXPECT_EQ(Half(0x1p-24F).bits, 0x0001);                        // the smallest subnormal
  EXPECT_EQ(Half(0x1p-25F).bits, 0x0000);                        // half of it: tie to even
  EXPECT_EQ(Half(std::nextafter(0x1p-25F, 1.0F)).bits, 0x0001);  // just above half of it
  EXPECT_EQ(Half(0x1p-14F).bits, 0x0400);                        // the smallest normal
  EXPECT_EQ(Half(std::nextafter(0x1p-14F, 0.0F)).bits, 0x0400);  // carries from subnormal to normal
  EXPECT_EQ(static_cast<float>(Half(0.1F)), 0.0999755859375F);
}

TEST(BFloat16, KnownValues) {
  EXPECT_EQ(BFloat16(0.0F).bits, 0x0000);
  EXPECT_EQ(BFloat16(-0.0F).bits, 0x8000);
  EXPECT_EQ(BFloat16(1.0F).bits, 0x3F80);
  EXPECT_EQ(BFloat16(-2.0F).bits, 0xC000);
  EXPECT_EQ(BFloat16(1.0F + 0x1p-8F).bits, 0x3F80);                            // tie to even, down
  EXPECT_EQ(BFloat16(1.0F + 0x3p-8F).bits, 0x3F82);                            // tie to even, up
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7F80);         // overflow
  EXPECT_EQ(BFloat16(std::numeric_limits<float>::denorm_min()).bits, 0x0000);  // underflow
  EXPECT_EQ(static_cast<float>(BFloat16(0.1F)), 0.10009765625F);
}

TEST(Float16Types, ConversionsWorkAtCompileTime) {
  static_assert(Half(0.5F).bits == 0x3800);
  static_assert(BFloat16(0.5F).bits == 0x3F00);
  static_assert(static_cast<float>(Half(-3.0F)) == -3.0F);
  static_assert(static_cast<float>(BFloat16(-3.0F)) == -3.0F);
  static_assert(sizeof(Half) == 2 && sizeof(BFloat16) == 2);
  static_assert(!std::is_convertible_v<float, Half> && !std::is_convertible_v<Half, float>);
  EXPECT_EQ(Half().bits, 0);
  EXPECT_EQ(BFloat16().bits, 0);
}

}  // namespace

}  // namespace wick

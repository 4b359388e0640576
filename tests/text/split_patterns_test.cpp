// Regular expressions, and the expressions that are matched by hand: these must cut exactly where the engine does.
#include <gtest/gtest.h>

#include <random>

#include "harness/expect_error.hpp"
#include "text/regex.hpp"
#include "text/split_patterns.hpp"
#include "text/unicode.hpp"

namespace wick::test {

namespace {

using detail::KnownSplit;
using detail::Range;

std::vector<Range> by_hand(KnownSplit kind, std::string_view text) {
  std::vector<Range> ranges;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = detail::next_split(kind, text, begin);
    if (end <= begin || end > text.size()) {
      ADD_FAILURE() << "no progress at byte " << begin;
      break;
    }
    ranges.emplace_back(begin, end);
    begin = end;
  }
  return ranges;
}

// Characters of every kind that the expressions tell apart.
const std::vector<std::string> kCharacters{
    "a",      "Z",          "s",      "t",      "r",      "e",      "l",      "d",      "m",
    "v",      "S",          "T",      "L",      "E",      "'",      "'",      "\u2019", " ",
    " ",      " ",          "\n",     "\r",     "\t",     "\u00A0", "\u3000", "\u0085", "\u2028",
    "\u180E", "0",          "7",      "\u0665", "\u00BD", "\u2167", ".",      ",",      "-",
    "!",      "_",          "$",      "\u4E2D", "\u00E9", "\u0301", "\u017F", "\u212A", "\u01C5",
    "\u02B0", "\U0001F600", "\u200D", "\u0915", "\u093E"};

class KnownSplitTest : public ::testing::TestWithParam<KnownSplit> {};

TEST_P(KnownSplitTest, CutsWhereTheExpressionDoes) {
  const std::string expression(detail::expression_of(GetParam()));
  ASSERT_EQ(detail::known_split(expression), GetParam());
  const detail::Regex regex(expression, "test");
  std::mt19937 random(1);
  std::size_t pieces = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    const auto length = 1 + random() % 12;
    for (std::size_t j = 0; j < length; ++j) text += kCharacters[random() % kCharacters.size()];
    const auto expected = regex.find_all(text);
    pieces += expected.size();
    ASSERT_EQ(by_hand(GetParam(), text), expected) << ::testing::PrintToString(text);
  }
  EXPECT_GT(pieces, 50000U);
}

INSTANTIATE_TEST_SUITE_P(All, KnownSplitTest,
                         ::testing::Values(KnownSplit::kGpt2, KnownSplit::kQwen2,
                                           KnownSplit::kLlama3));

TEST(KnownSplits, OthersAreNotKnown) {
  EXPECT_FALSE(detail::known_split("\\s+"));
  EXPECT_FALSE(detail::known_split(""));
}

std::vector<std::string> matches(const std::string& expression, std::string_view text) {
  std::vector<std::string> found;
  for (const auto& [begin, end] : detail::Regex(expression, "test").find_all(text)) {
    found.emplace_back(text.substr(begin, end - begin));
  }
  return found;
}

using Texts = std::vector<std::string>;

TEST(Regex, ReadsSetsAsOnigurumaDoes) {
  EXPECT_EQ(matches("\\w+", "\u0915\u093E\u203Fx \u00B2"), (Texts{"\u0915\u093E\u203Fx"}));
  EXPECT_EQ(matches("[^\\w ]+", "a\u0301\u00B2 b"), (Texts{"\u00B2"}));
  EXPECT_EQ(matches("\\W+", "a, b"), (Texts{", "}));
  EXPECT_EQ(matches("\\s+", "a \u3000\u0085b\u180Ec"), (Texts{" \u3000\u0085"}));
  EXPECT_EQ(matches("[\\s\\S]+", "a b\n"), (Texts{"a b\n"}));
  EXPECT_EQ(matches("\\h+", "xdeadBEEF 12"), (Texts{"deadBEEF", "12"}));
  EXPECT_EQ(matches("[\\hx]+", "0x1F"), (Texts{"0x1F"}));
  EXPECT_EQ(matches("[]a]+", "]a["), (Texts{"]a"}));
  EXPECT_EQ(matches("[^]a]+", "]a["), (Texts{"["}));
  EXPECT_EQ(matches("[[:digit:]]+", "a12"), (Texts{"12"}));
  EXPECT_EQ(matches("a{,2}b", "aaab"), (Texts{"aab"}));
  EXPECT_EQ(matches("a{x}", "a{x}"), (Texts{"a{x}"}));
}

TEST(Regex, AnchorsAreThoseOfALine) {
  EXPECT_EQ(matches("^\\w", "ab\ncd"), (Texts{"a", "c"}));
  EXPECT_EQ(matches("\\w$", "ab\ncd"), (Texts{"b", "d"}));
  EXPECT_EQ(matches(".+", "a\nb"), (Texts{"a", "b"}));
}

TEST(Regex, EmptyMatches) {
  using Ranges = std::vector<Range>;
  EXPECT_EQ(detail::Regex("x*", "test").find_all("axb"), (Ranges{{0, 0}, {1, 2}, {3, 3}}));
  EXPECT_EQ(detail::Regex("", "test").find_all("\u00E9a"), (Ranges{{0, 0}, {2, 2}, {3, 3}}));
  EXPECT_EQ(detail::Regex("$", "test").find_all(""), Ranges{});
}

TEST(Regex, WhatCannotBeReadTheSameWayIsRefused) {
  for (const char* expression : {"[a-z&&[^b]]", "[a[bc]]", "[\\W]", "a{1,3}+"}) {
    expect_error(ErrorKind::kUnsupported, {"here", expression, "at byte"},
                 [&] { detail::Regex(expression, "here"); });
  }
  for (const char* expression : {"(", "[z-a]", "\\p{Nonsense}", "\\C", "*a", "[[:digit:"}) {
    expect_error(ErrorKind::kParse, {"here", expression, "at byte"},
                 [&] { detail::Regex(expression, "here"); });
  }
}

// Compiled code has a small stack; what needs more is matched without it.
TEST(Regex, DeepRepetitionsMatch) {
  const std::string text(20000, 'a');
  EXPECT_EQ(matches("(?:a|b|(c))+", text), (Texts{text}));
}

TEST(Regex, EndlessMatchingIsGivenUp) {
  const std::string text(64, 'a');
  expect_error(ErrorKind::kArgument, {"regular expression"},
               [&] { matches("(?:a+)+(?:a+)+(?:a+)+\\d", text); });
}

TEST(Unicode, WordCharacters) {
  for (const char32_t c : {U'a', U'_', U'9', U'\u00E9', U'\u0301', U'\u093E', U'\u0665', U'\u2167',
                           U'\u203F', U'\u200D', U'\u24B6'}) {
    EXPECT_TRUE(detail::is_word(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U' ', U'-', U'\u00B2', U'\u00BD', U'\u2014', U'\U0001F600'}) {
    EXPECT_FALSE(detail::is_word(c)) << static_cast<unsigned>(c);
  }
}

TEST(Unicode, InvalidUtf8IsFoundAndReplaced) {
  const auto check = [](const std::string& bytes, std::size_t invalid, const std::string& lossy) {
    EXPECT_EQ(detail::first_invalid_utf8(bytes), invalid);
    EXPECT_EQ(detail::lossy_utf8(bytes), lossy);
  };
  check("a\u00E9\u4E2D\U0001F600", 10, "a\u00E9\u4E2D\U0001F600");
  check(
      "a\xFF"
      "b",
      1,
      "a\uFFFD"
      "b");
  check("\xC3", 0, "\uFFFD");
  check("x\xE4\xB8", 1, "x\uFFFD");
  check("\xF0\x9F\x98", 0, "\uFFFD");
  check("\xC0\x80", 0, "\uFFFD\uFFFD");
  check("\xED\xA0\x80", 0, "\uFFFD\uFFFD\uFFFD");
  check("\xF4\x90\x80\x80", 0, "\uFFFD\uFFFD\uFFFD\uFFFD");
  check("\x80", 0, "\uFFFD");
}

TEST(Unicode, Graphemes) {
  const auto first = [](const std::string& text) {
    return text.substr(0, detail::grapheme_end(text, 0));
  };
  EXPECT_EQ(first("ab"), "a");
  EXPECT_EQ(first("e\u0301\u0302x"), "e\u0301\u0302");
  EXPECT_EQ(first("\r\nx"), "\r\n");
  EXPECT_EQ(first("\U0001F468\u200D\U0001F469x"), "\U0001F468\u200D\U0001F469");
}

}  // namespace

}  // namespace wick::test

#include "generate/stop_matcher.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "harness/expect_error.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

struct Outcome {
  std::string text;
  bool found;
};

// Feeds `text` in pieces of `size` bytes.
Outcome feed(const std::vector<std::string>& stops, std::string_view text, std::size_t size) {
  StopMatcher matcher(stops);
  std::string result;
  for (std::size_t at = 0; at < text.size(); at += size) {
    result += matcher.push(text.substr(at, size));
  }
  result += matcher.finish();
  return {result, matcher.found()};
}

// The rule read out: the shortest beginning of the text that ends with a stop string, less the longest such.
Outcome plain_rule(const std::vector<std::string>& stops, std::string_view text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {std::string(text.substr(0, end - longest)), true};
  }
  return {std::string(text), false};
}

TEST(StopMatcher, WithoutStopStringsTextPassesAtOnce) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("any"), "any");
  EXPECT_EQ(matcher.push(" text"), " text");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.found());
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStopString) {
  StopMatcher matcher({"</s>", "\n\nUser"});
  EXPECT_EQ(matcher.push("a <"), "a ");
  EXPECT_EQ(matcher.push("b"), "<b");
  EXPECT_EQ(matcher.push("c\n"), "c");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.push("\n"), "\n");  // the last two may still be the beginning
  EXPECT_EQ(matcher.push("Us"), "");
  EXPECT_EQ(matcher.push("er: and more"), "");
  EXPECT_TRUE(matcher.found());
  EXPECT_EQ(matcher.push("nothing after it"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, WhatWasHeldBackComesAtTheEnd) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("the EN"), "the ");
  EXPECT_EQ(matcher.finish(), "EN");
  EXPECT_FALSE(matcher.found());
}

TEST(StopMatcher, ABeginningInsideABeginningIsKept) {
  // "aab" in "aaab": the second "a" begins it.
  EXPECT_EQ(feed({"aab"}, "xaaab!", 1).text, "xa");
  EXPECT_EQ(feed({"abab"}, "ababab", 1).text, "");
  EXPECT_EQ(feed({"ab", "aac"}, "aaaac", 1).text, "aa");
}

TEST(StopMatcher, TheFirstToBeCompleteWins) {
  for (const std::size_t size : {1U, 2U, 3U, 10U}) {
    EXPECT_EQ(feed({"abcd", "bc"}, "xabcd", size).text, "xa");
    EXPECT_EQ(feed({"bc", "abc"}, "xabc", size).text, "x");  // together: the longest
  }
}

TEST(StopMatcher, TheResultDoesNotDependOnThePieces) {
  std::mt19937 bits(7);
  const auto word = [&bits](std::size_t most) {
    std::string text;
    const std::size_t size = 1 + bits() % most;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + bits() % 3);
    return text;
  };
  int found = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> stops;
    for (std::size_t i = 0; i < 1 + bits() % 3; ++i) stops.push_back(word(6));
    const std::string text = word(40);
    const Outcome expected = plain_rule(stops, text);
    found += expected.found ? 1 : 0;
    for (const std::size_t size : {1U, 2U, 5U, 40U}) {
      const Outcome actual = feed(stops, text, size);
      ASSERT_EQ(actual.text, expected.text) << text << " in pieces of " << size;
      ASSERT_EQ(actual.found, expected.found) << text << " in pieces of " << size;
    }
  }
  EXPECT_GT(found, 200);
  EXPECT_LT(found, 1800);
}

TEST(StopMatcher, HoldsWholeCharacters) {
  // "é" and "è" begin with the same byte.
  StopMatcher matcher({"é!"});
  EXPECT_EQ(matcher.push("caf\xC3\xA8"), "caf\xC3\xA8");
  EXPECT_EQ(matcher.push("caf\xC3\xA9"), "caf");
  EXPECT_EQ(matcher.push("?"), "\xC3\xA9?");
}

TEST(StopMatcher, RefusesStringsThatCannotStop) {
  expect_error(ErrorKind::kArgument, {"generate: ", "stop string 1 is empty"},
               [] { StopMatcher matcher({"a", ""}); });
  expect_error(ErrorKind::kArgument, {"stop string 0 begins inside a UTF-8 character"},
               [] { StopMatcher matcher({"\xA9x"}); });
}

}  // namespace

}  // namespace wick::detail

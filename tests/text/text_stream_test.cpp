// Tokens that arrive one by one: valid UTF-8 at every step, and joined what decode() gives.
#include <gtest/gtest.h>

#include <random>

#include "harness/expect_error.hpp"
#include "text/tokenizer_support.hpp"
#include "text/unicode.hpp"

namespace wick::test {

namespace {

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, bool skip) {
  TextStream stream(tokenizer, skip);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_EQ(detail::first_invalid_utf8(piece), piece.size());
    text += piece;
  }
  return text + stream.finish();
}

class TextStreamFixture : public ::testing::TestWithParam<std::string> {};

TEST_P(TextStreamFixture, PiecesJoinedAreTheDecodedText) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  const std::string text =
      "Hello there, don't  stop \u2014 na\u00EFve caf\u00E9s, \u4E2D\u6587 and "
      "\U0001F468\u200D\U0001F469\n\n  x!";
  for (const bool skip : {true, false}) {
    const Ids ids = tokenizer.encode(text);
    EXPECT_EQ(streamed(tokenizer, ids, skip), tokenizer.decode(ids, skip));
  }
}

TEST_P(TextStreamFixture, RandomIdsToo) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    Ids ids(1 + random() % 20);
    for (std::int32_t& id : ids) {
      // The first ids are where single bytes are.
      const auto limit = random() % 2 == 0 ? 300 : tokenizer.vocab_size();
      id = static_cast<std::int32_t>(random() % static_cast<unsigned>(limit));
    }
    for (const bool skip : {true, false}) {
      ASSERT_EQ(streamed(tokenizer, ids, skip), tokenizer.decode(ids, skip))
          << ::testing::PrintToString(ids);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TextStreamFixture, ::testing::ValuesIn(fixture_names()),
                         [](const auto& fixture) {
                           std::string name = fixture.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(TextStream, TextComesAsSoonAsItIsCertain) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  TextStream stream(tokenizer);
  const Ids ids = tokenizer.encode("hi \u4E2D");
  ASSERT_GE(ids.size(), 4U);
  EXPECT_FALSE(stream.push(ids[0]).empty());
  std::string rest;
  for (std::size_t i = 1; i < ids.size(); ++i) rest += stream.push(ids[i]);
  EXPECT_TRUE(rest.ends_with("\u4E2D"));
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, AnUnfinishedCharacterBecomesAReplacement) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  const Ids ids = tokenizer.encode("\u4E2D");
  ASSERT_EQ(ids.size(), 3U);
  TextStream stream(tokenizer);
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  // It begins anew.
  EXPECT_EQ(stream.push(tokenizer.encode("a")[0]), "a");
}

TEST(TextStream, SkippedTokensCostNothing) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  const std::int32_t end = tokenizer.token_to_id("<|im_end|>").value();
  TextStream stream(tokenizer);
  // Were they kept, this would decode half of the square of that many tokens.
  for (int i = 0; i < 200'000; ++i) ASSERT_EQ(stream.push(end), "");
  EXPECT_EQ(stream.push(tokenizer.encode("a")[0]), "a");
  EXPECT_EQ(TextStream(tokenizer, false).push(end), "<|im_end|>");
}

TEST(TextStream, AnIdThatDoesNotExistIsRefused) {
  TextStream stream(fixture_tokenizer("gpt2"));
  expect_error(ErrorKind::kArgument, {"99999"}, [&] { stream.push(99999); });
}

}  // namespace

}  // namespace wick::test

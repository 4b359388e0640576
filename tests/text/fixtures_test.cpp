// Every line of the fixtures: ids and texts as the Hugging Face library gives them.
#include <gtest/gtest.h>

#include <sstream>

#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

struct ExpectedLine {
  std::string text;
  Ids ids;
  Ids ids_no_special;
  std::string decoded;
  std::string decoded_skip_special;
};

std::vector<ExpectedLine> expected_lines(const std::string& name) {
  std::istringstream file(read_file(tokenizer_folder(name) / "expected.jsonl"));
  std::vector<ExpectedLine> lines;
  for (std::string line; std::getline(file, line);) {
    const json entry = json::parse(line);
    lines.push_back({entry.at("text"), entry.at("ids"), entry.at("ids_no_special"),
                     entry.at("decoded"), entry.at("decoded_skip_special")});
  }
  return lines;
}

class TokenizerFixture : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerFixture, EncodesEveryLine) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  const auto lines = expected_lines(GetParam());
  ASSERT_GE(lines.size(), 100U);
  for (const ExpectedLine& line : lines) {
    EXPECT_EQ(tokenizer.encode(line.text), line.ids) << line.text;
    EXPECT_EQ(tokenizer.encode(line.text, {.add_special_tokens = false}), line.ids_no_special)
        << line.text;
  }
}

TEST_P(TokenizerFixture, DecodesEveryLine) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  for (const ExpectedLine& line : expected_lines(GetParam())) {
    EXPECT_EQ(tokenizer.decode(line.ids_no_special, false), line.decoded) << line.text;
    EXPECT_EQ(tokenizer.decode(line.ids, true), line.decoded_skip_special) << line.text;
  }
}

TEST_P(TokenizerFixture, KnowsEveryTokenByIdAndText) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  ASSERT_GE(tokenizer.vocab_size(), 1000);
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto token = tokenizer.id_to_token(id);
    ASSERT_TRUE(token.has_value()) << id;
    EXPECT_EQ(tokenizer.token_to_id(*token), id) << *token;
  }
  EXPECT_FALSE(tokenizer.id_to_token(static_cast<std::int32_t>(tokenizer.vocab_size())));
  EXPECT_FALSE(tokenizer.id_to_token(-1));
  EXPECT_FALSE(tokenizer.token_to_id("no such token"));
}

TEST_P(TokenizerFixture, PrefixAndSuffixAreWhatEncodePutsAround) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  Ids expected = tokenizer.prefix_ids();
  const Ids inner = tokenizer.encode("a line", {.add_special_tokens = false});
  expected.insert(expected.end(), inner.begin(), inner.end());
  expected.insert(expected.end(), tokenizer.suffix_ids().begin(), tokenizer.suffix_ids().end());
  EXPECT_EQ(tokenizer.encode("a line"), expected);
}

// Pieces come out of the cache the second time.
TEST_P(TokenizerFixture, EncodesTheSameTwice) {
  const Tokenizer tokenizer = fixture_tokenizer(GetParam());
  for (const ExpectedLine& line : expected_lines(GetParam())) {
    const Ids once = tokenizer.encode(line.text);
    EXPECT_EQ(tokenizer.encode(line.text), once) << line.text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerFixture, ::testing::ValuesIn(fixture_names()),
                         [](const auto& fixture) {
                           std::string name = fixture.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace

}  // namespace wick::test

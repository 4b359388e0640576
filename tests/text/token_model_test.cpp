// The models: BPE, Unigram, WordPiece.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "harness/expect_error.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

const std::vector<std::string> kTokens{"<unk>", "a", "b", "c", "ab", "bc", "abc", "abab"};

// [["a","b"], …]: braces alone would make an object of it.
json pairs(const std::vector<std::pair<std::string, std::string>>& list) {
  json result = json::array();
  for (const auto& [left, right] : list) result.push_back(json::array({left, right}));
  return result;
}

json scored(const std::vector<std::pair<std::string, double>>& list) {
  json result = json::array();
  for (const auto& [piece, score] : list) result.push_back(json::array({piece, score}));
  return result;
}

Ids encode(const json& description, std::string_view text) {
  return tokenizer_of(description).encode(text);
}

TEST(Bpe, BothSpellingsOfMerges) {
  EXPECT_EQ(encode(bpe(kTokens, {"a b", "ab c"}), "abcab"), (Ids{6, 4}));
  EXPECT_EQ(encode(bpe(kTokens, pairs({{"a", "b"}, {"ab", "c"}})), "abcab"), (Ids{6, 4}));
  // The newer spelling can hold a token with a space in it.
  EXPECT_EQ(encode(bpe({"a", " ", "a "}, pairs({{"a", " "}})), "a a"), (Ids{2, 0}));
}

TEST(Bpe, TheFixturesAreTheSameInBothSpellings) {
  for (const std::string name : {"gpt2", "qwen2", "llama3", "llama2-sp"}) {
    json description = fixture_json(name);
    json& merges = description["model"]["merges"];
    ASSERT_GT(merges.size(), 100U);
    json strings = json::array();
    json lists = json::array();
    for (const json& merge : merges) {
      const std::string left = merge[0];
      const std::string right = merge[1];
      strings.push_back(left + " " + right);
      lists.push_back(json::array({left, right}));
    }
    const std::string text = "The quick brown fox doesn't jump over 12345 lazy dogs.";
    merges = strings;
    const Ids from_strings = encode(description, text);
    merges = lists;
    EXPECT_EQ(from_strings, encode(description, text)) << name;
    EXPECT_EQ(from_strings, fixture_tokenizer(name).encode(text)) << name;
  }
}

TEST(Bpe, MergesByRankAndFromLeftToRight) {
  EXPECT_EQ(encode(bpe(kTokens, {"b c", "a b"}), "abc"), (Ids{1, 5}));
  EXPECT_EQ(encode(bpe(kTokens, {"a b", "b c"}), "abc"), (Ids{4, 3}));
  EXPECT_EQ(encode(bpe({"a", "aa"}, {"a a"}), "aaaaa"), (Ids{1, 1, 0}));
  // The last of two lines for the same pair counts.
  EXPECT_EQ(encode(bpe(kTokens, {"a b", "b c", "a b"}), "abc"), (Ids{1, 5}));
}

TEST(Bpe, IgnoreMergesTakesWholePieces) {
  json description = bpe(kTokens, {"b c"});
  EXPECT_EQ(encode(description, "abc"), (Ids{1, 5}));
  description["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(description, "abc"), Ids{6});
  EXPECT_EQ(encode(description, "abcb"), (Ids{1, 5, 2}));
}

TEST(Bpe, UnknownCharacters) {
  json description = bpe(kTokens, json::array());
  // Without an unknown token they are left out, as in the reference library.
  EXPECT_EQ(encode(description, "axyb"), (Ids{1, 2}));
  description["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(encode(description, "axyb"), (Ids{1, 0, 0, 2}));
  description["model"]["fuse_unk"] = true;
  EXPECT_EQ(encode(description, "axyb"), (Ids{1, 0, 2}));
}

TEST(Bpe, ByteFallback) {
  std::vector<std::string> tokens = kTokens;
  tokens.insert(tokens.end(), {"<0xC3>", "<0xA9>", "<0x78>"});
  json description = bpe(tokens, json::array());
  description["model"]["unk_token"] = "<unk>";
  description["model"]["byte_fallback"] = true;
  EXPECT_EQ(encode(description, "a\u00E9xb"), (Ids{1, 8, 9, 10, 2}));
  // One byte without a token makes the whole character unknown.
  EXPECT_EQ(encode(description, "\u00E8"), Ids{0});
}

TEST(Bpe, PrefixAndSuffixOfSubwords) {
  json suffixed = bpe({"l", "o", "w", "w</w>", "o</w>", "lo", "low</w>"}, {"l o", "lo w</w>"});
  suffixed["model"]["end_of_word_suffix"] = "</w>";
  suffixed["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_EQ(encode(suffixed, "low lo"), (Ids{6, 0, 4}));
  json prefixed = bpe({"a", "b", "##b", "##c", "ab", "abc"}, {"a ##b", "ab ##c"});
  prefixed["model"]["continuing_subword_prefix"] = "##";
  EXPECT_EQ(encode(prefixed, "abc"), Ids{5});
  EXPECT_EQ(encode(prefixed, "bb"), (Ids{1, 2}));
}

// Short pieces and long ones are merged by different means: both must do the same. A reference in plain loops.
TEST(Bpe, LongPiecesAreMergedAsShortOnesAre) {
  const std::vector<std::string> tokens{"a",  "b",   "c",   "ab",  "bc",
                                        "aa", "abc", "aab", "cab", "abab"};
  const std::vector<std::pair<std::string, std::string>> merges{
      {"a", "b"}, {"a", "a"}, {"b", "c"}, {"c", "ab"}, {"ab", "c"}, {"aa", "b"}, {"ab", "ab"}};
  const Tokenizer tokenizer = tokenizer_of(bpe(tokens, pairs(merges)));
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text(1 + random() % 80, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    std::vector<std::string> symbols;
    for (const char c : text) symbols.emplace_back(1, c);
    for (bool merged = true; merged;) {
      merged = false;
      for (const auto& [left, right] : merges) {
        for (std::size_t j = 0; j + 1 < symbols.size() && !merged; ++j) {
          merged = symbols[j] == left && symbols[j + 1] == right;
          if (merged) symbols[j] += symbols[j + 1];
          if (merged) symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(j) + 1);
        }
        if (merged) break;
      }
    }
    Ids expected;
    for (const std::string& symbol : symbols) expected.push_back(*tokenizer.token_to_id(symbol));
    ASSERT_EQ(tokenizer.encode(text), expected) << text;
  }
}

TEST(Bpe, AMillionOfOneLetter) {
  for (const std::string name : {"gpt2", "qwen2", "llama3", "llama2-sp"}) {
    const Tokenizer tokenizer = fixture_tokenizer(name);
    const std::string text(1'000'000, 'a');
    const Ids ids = tokenizer.encode(text);
    EXPECT_LT(ids.size(), 1'000'002U);
    EXPECT_EQ(tokenizer.decode(ids), text) << name;
  }
}

// With merges at every length: 1 000 000 = 1953 * 512 + 64.
TEST(Bpe, AMillionOfOneLetterMergedAgainAndAgain) {
  std::vector<std::string> tokens{"a"};
  json merges = json::array();
  for (int i = 0; i < 9; ++i) {
    merges.push_back(json::array({tokens.back(), tokens.back()}));
    tokens.push_back(tokens.back() + tokens.back());
  }
  Ids expected(1953, 9);
  expected.push_back(6);
  EXPECT_EQ(encode(bpe(tokens, merges), std::string(1'000'000, 'a')), expected);
}

TEST(Bpe, ManyThreadsGetTheSameIds) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i)
    texts.push_back("number " + std::to_string(i * i) + " of the words");
  std::vector<Ids> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer.encode(text));
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i < texts.size(); ++i) {
          if (tokenizer.encode(texts[i]) != expected[i]) ++count;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(Bpe, BrokenOnesAreRefused) {
  const auto refused = [](const json& description, const std::vector<std::string>& parts,
                          ErrorKind kind = ErrorKind::kParse) {
    expect_error(kind, parts, [&] { tokenizer_of(description); });
  };
  refused(bpe(kTokens, {"a b c"}), {"merges[0]"});
  refused(bpe(kTokens, {"a b", "ab"}), {"merges[1]"});
  refused(bpe(kTokens, json::array({json::array({"a", "b", "c"})})), {"merges[0]"});
  refused(bpe(kTokens, {3}), {"merges[0]", "3"});
  refused(bpe(kTokens, "a b"), {"merges", "must be a list"});
  refused(bpe(kTokens, {"a x"}), {"merges[0]", "\"x\""});
  refused(bpe(kTokens, {"b b"}), {"merges[0]", "\"bb\""});
  const auto changed = [](const char* key, const json& value) {
    json description = bpe(kTokens, json::array());
    description["model"][key] = value;
    return description;
  };
  refused(changed("vocab", json::object()), {"vocab"});
  refused(changed("vocab", {{"a", "b"}}), {"vocab", "\"a\"", "integer"});
  refused(changed("vocab", {{"a", 1}, {"b", 1}}), {"vocab", "two tokens"});
  refused(changed("vocab", {{"a", 4000000000}}), {"vocab", "\"a\""});
  refused(changed("vocab", {{"a", -1}}), {"vocab", "\"a\""});
  refused(changed("vocab", {{"a", 1.5}}), {"vocab", "\"a\""});
  refused(changed("unk_token", "none"), {"unk_token", "\"none\""});
  refused(changed("byte_fallback", 1), {"byte_fallback"});
  refused(changed("dropout", 0.1), {"dropout"}, ErrorKind::kUnsupported);
  refused(changed("type", "WordLevel"), {"\"WordLevel\""}, ErrorKind::kUnsupported);
}

json unigram(const json& vocab, const json& unk_id) {
  return {{"model", {{"type", "Unigram"}, {"vocab", vocab}, {"unk_id", unk_id}}}};
}

TEST(Unigram, TakesTheLikeliestPath) {
  const json vocab =
      scored({{"<unk>", 0.0}, {"a", -3.0}, {"b", -3.0}, {"ab", -5.0}, {"abc", -9.0}, {"c", -3.0}});
  EXPECT_EQ(encode(unigram(vocab, 0), "ab"), Ids{3});
  EXPECT_EQ(encode(unigram(vocab, 0), "abc"), (Ids{3, 5}));
  EXPECT_EQ(encode(unigram(vocab, 0), "axyb"), (Ids{1, 0, 2}));
}

TEST(Unigram, WithoutAnUnknownTokenTheTextIsRefused) {
  const json vocab = scored({{"a", -1.0}, {"b", -1.0}});
  EXPECT_EQ(encode(unigram(vocab, nullptr), "ab"), (Ids{0, 1}));
  expect_error(ErrorKind::kArgument, {"\"x\""}, [&] { encode(unigram(vocab, nullptr), "axb"); });
}

TEST(Unigram, ByteFallback) {
  json description =
      unigram(scored({{"<unk>", 0.0}, {"a", -1.0}, {"<0xC3>", -9.0}, {"<0xA9>", -9.0}}), 0);
  description["model"]["byte_fallback"] = true;
  EXPECT_EQ(encode(description, "a\u00E9"), (Ids{1, 2, 3}));
  EXPECT_EQ(encode(description, "\u00E8"), Ids{0});
}

TEST(Unigram, BrokenOnesAreRefused) {
  for (const json& vocab :
       {json::array(), json::object(), json{{"a"}}, json{{"a", "b"}}, json{{1, 2}}, json{3}}) {
    expect_error(ErrorKind::kParse, {"vocab"}, [&] { tokenizer_of(unigram(vocab, 0)); });
  }
  expect_error(ErrorKind::kParse, {"twice"},
               [] { tokenizer_of(unigram(scored({{"a", -1.0}, {"a", -2.0}}), 0)); });
  expect_error(ErrorKind::kParse, {"unk_id", "7"},
               [] { tokenizer_of(unigram(scored({{"a", -1.0}}), 7)); });
  expect_error(ErrorKind::kParse, {"unk_id"},
               [] { tokenizer_of(unigram(scored({{"a", -1.0}}), "a")); });
}

json wordpiece() {
  return {
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", "[UNK]"},
        {"max_input_chars_per_word", 6},
        {"vocab", {{"[UNK]", 0}, {"un", 1}, {"##aff", 2}, {"##able", 3}, {"a", 4}, {"##a", 5}}}}},
      {"pre_tokenizer", {{"type", "Whitespace"}}}};
}

TEST(WordPiece, TakesTheLongestPiece) {
  EXPECT_EQ(encode(wordpiece(), "unaff aaa"), (Ids{1, 2, 4, 5, 5}));
  EXPECT_EQ(encode(wordpiece(), "unx a"), (Ids{0, 4}));
  // Longer than max_input_chars_per_word.
  EXPECT_EQ(encode(wordpiece(), "unaffable"), Ids{0});
  EXPECT_EQ(encode(wordpiece(), "aaaaaa aaaaaaa"), (Ids{4, 5, 5, 5, 5, 5, 0}));
}

TEST(WordPiece, NeedsItsUnknownToken) {
  json description = wordpiece();
  description["model"]["unk_token"] = "[NONE]";
  expect_error(ErrorKind::kParse, {"unk_token", "[NONE]"}, [&] { tokenizer_of(description); });
}

}  // namespace

}  // namespace wick::test

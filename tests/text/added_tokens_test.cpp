// Tokens that are found in a text before anything else happens to it.
#include <gtest/gtest.h>

#include "harness/expect_error.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

struct AddedToken {
  std::string content;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
  bool normalized = false;
  bool special = true;
};

constexpr std::int32_t kFirstAdded = 100;

// Letters are tokens 0 to 25, a space 26, "." 27, "_" 28, "L" 29; added tokens begin at 100.
json with_added(const std::vector<AddedToken>& added) {
  std::vector<std::string> tokens;
  for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
  for (const char* c : {" ", ".", "_", "L"}) tokens.emplace_back(c);
  json description = bpe(tokens, json::array());
  for (std::size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    description["added_tokens"].push_back({{"id", kFirstAdded + i},
                                           {"content", token.content},
                                           {"lstrip", token.lstrip},
                                           {"rstrip", token.rstrip},
                                           {"single_word", token.single_word},
                                           {"normalized", token.normalized},
                                           {"special", token.special}});
  }
  return description;
}

constexpr std::int32_t kSpace = 26;

TEST(AddedTokens, AreTakenWhole) {
  const Tokenizer tokenizer = tokenizer_of(with_added({{.content = "<x>"}}));
  EXPECT_EQ(tokenizer.encode("a<x>b"), (Ids{0, 100, 1}));
  EXPECT_EQ(tokenizer.encode("<x><x>"), (Ids{100, 100}));
  EXPECT_EQ(tokenizer.encode("a <x> b"), (Ids{0, kSpace, 100, kSpace, 1}));
}

TEST(AddedTokens, TheLongestWins) {
  const Tokenizer tokenizer =
      tokenizer_of(with_added({{.content = "<x"}, {.content = "<x>"}, {.content = "<x>>"}}));
  EXPECT_EQ(tokenizer.encode("<x>>"), Ids{102});
  EXPECT_EQ(tokenizer.encode("<x>a"), (Ids{101, 0}));
  EXPECT_EQ(tokenizer.encode("<xa"), (Ids{100, 0}));
}

TEST(AddedTokens, LstripAndRstripTakeTheSpaceBeside) {
  const Tokenizer both =
      tokenizer_of(with_added({{.content = "<x>", .lstrip = true, .rstrip = true}}));
  EXPECT_EQ(both.encode("a  <x> \n b"), (Ids{0, 100, 1}));
  EXPECT_EQ(both.encode("<x>  <x>"), (Ids{100, 100}));
  EXPECT_EQ(both.encode(" <x> "), Ids{100});
  const Tokenizer left = tokenizer_of(with_added({{.content = "<x>", .lstrip = true}}));
  EXPECT_EQ(left.encode("a <x> b"), (Ids{0, 100, kSpace, 1}));
  const Tokenizer right = tokenizer_of(with_added({{.content = "<x>", .rstrip = true}}));
  EXPECT_EQ(right.encode("a <x> b"), (Ids{0, kSpace, 100, 1}));
  // Space of any alphabet.
  EXPECT_EQ(right.encode("<x>\u3000"
                         "b"),
            (Ids{100, 1}));
}

TEST(AddedTokens, SingleWordsAreNotFoundInsideOthers) {
  const Tokenizer tokenizer = tokenizer_of(with_added({{.content = "ing", .single_word = true}}));
  EXPECT_EQ(tokenizer.encode("ing"), Ids{100});
  EXPECT_EQ(tokenizer.encode("a ing."), (Ids{0, kSpace, 100, 27}));
  EXPECT_EQ(tokenizer.encode("ding"), (Ids{3, 8, 13, 6}));
  EXPECT_EQ(tokenizer.encode("ings"), (Ids{8, 13, 6, 18}));
  EXPECT_EQ(tokenizer.encode("_ing"), (Ids{28, 8, 13, 6}));
}

TEST(AddedTokens, NormalizedOnesAreFoundInNormalisedText) {
  json description = with_added({{.content = "Lo", .normalized = true, .special = false},
                                 {.content = "LX", .normalized = false, .special = false}});
  description["normalizer"] = {{"type", "Lowercase"}};
  const Tokenizer tokenizer = tokenizer_of(description);
  EXPECT_EQ(tokenizer.encode("aLOa"), (Ids{0, 100, 0}));
  EXPECT_EQ(tokenizer.encode("alo"), (Ids{0, 100}));
  EXPECT_EQ(tokenizer.encode("aLX"), (Ids{0, 101}));
  EXPECT_EQ(tokenizer.encode("alx"), (Ids{0, 11, 23}));
}

TEST(AddedTokens, SpecialOnesAreTextForWhomDoesNotTrustIt) {
  const Tokenizer tokenizer =
      tokenizer_of(with_added({{.content = "abc"}, {.content = "xyz", .special = false}}));
  EXPECT_EQ(tokenizer.encode("abcxyz", {.parse_special_tokens = true}), (Ids{100, 101}));
  EXPECT_EQ(tokenizer.encode("abcxyz", {.parse_special_tokens = false}), (Ids{0, 1, 2, 101}));
  EXPECT_TRUE(tokenizer.is_special(100));
  EXPECT_FALSE(tokenizer.is_special(101));
}

TEST(AddedTokens, NoTextEndsATurnWhenSpecialTokensAreNotRead) {
  for (const std::string& name : fixture_names()) {
    const Tokenizer tokenizer = fixture_tokenizer(name);
    std::string text;
    for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if (tokenizer.is_special(id)) text += *tokenizer.id_to_token(id) + " x";
    }
    ASSERT_FALSE(text.empty()) << name;
    const auto unknown = tokenizer.token_to_id(name == "bert-wordpiece" ? "[UNK]" : "<unk>");
    for (const std::int32_t id :
         tokenizer.encode(text, {.add_special_tokens = false, .parse_special_tokens = false})) {
      EXPECT_TRUE(!tokenizer.is_special(id) || id == unknown) << name << ": " << id;
    }
  }
}

// The model's own vocabulary spells them too.
TEST(AddedTokens, NoModelReadsTextAsASpecialToken) {
  const EncodeOptions untrusted{.add_special_tokens = false, .parse_special_tokens = false};
  const json added = json::array({{{"id", 0}, {"content", "ab"}, {"special", true}}});
  json merging = bpe({"ab", "a", "b"}, json::array({"a b"}));
  merging["added_tokens"] = added;
  EXPECT_EQ(tokenizer_of(merging).encode("ab"), Ids{0});
  EXPECT_EQ(tokenizer_of(merging).encode("ab", untrusted), (Ids{1, 2}));
  json whole = bpe({"ab", "a", "b"}, json::array());
  whole["model"]["ignore_merges"] = true;
  whole["added_tokens"] = added;
  EXPECT_EQ(tokenizer_of(whole).encode("ab", untrusted), (Ids{1, 2}));
  json wordpiece = {{"model",
                     {{"type", "WordPiece"},
                      {"unk_token", "a"},
                      {"continuing_subword_prefix", ""},
                      {"vocab", {{"ab", 0}, {"a", 1}, {"b", 2}}}}},
                    {"added_tokens", added}};
  EXPECT_EQ(tokenizer_of(wordpiece).encode("ab", untrusted), (Ids{1, 2}));
  const json pieces =
      json::array({json::array({"ab", 0.0}), json::array({"a", -3.0}), json::array({"b", -3.0})});
  const json unigram = {{"model", {{"type", "Unigram"}, {"vocab", pieces}}},
                        {"added_tokens", added}};
  EXPECT_EQ(tokenizer_of(unigram).encode("ab", untrusted), (Ids{1, 2}));
}

TEST(AddedTokens, SpecialOnesAreLeftOutOfDecodedText) {
  const Tokenizer tokenizer =
      tokenizer_of(with_added({{.content = "<x>"}, {.content = "<y>", .special = false}}));
  EXPECT_EQ(tokenizer.decode(Ids{0, 100, 101}), "a <y>");
  EXPECT_EQ(tokenizer.decode(Ids{0, 100, 101}, false), "a <x> <y>");
}

TEST(AddedTokens, BrokenOnesAreRefused) {
  const auto refused = [](const json& added, const std::string& part) {
    json description = with_added({});
    description["added_tokens"] = added;
    expect_error(ErrorKind::kParse, {"test", "added_tokens", part},
                 [&] { tokenizer_of(description); });
  };
  refused(3, "must be a list");
  refused({"<x>"}, "[0]");
  refused({{{"id", 100}}}, "content");
  refused({{{"content", "<x>"}}}, "id");
  refused({{{"content", ""}, {"id", 100}}}, "empty");
  refused({{{"content", "<x>"}, {"id", -5}}}, "-5");
  refused({{{"content", "<x>"}, {"id", 4294967296}}}, "4294967296");
  refused({{{"content", "<x>"}, {"id", 100}, {"special", "yes"}}}, "special");
  refused({{{"content", "<x>"}, {"id", 100}}, {{"content", "<y>"}, {"id", 100}}}, "two tokens");
  refused({{{"content", "<x>"}, {"id", 100}}, {{"content", "<x>"}, {"id", 101}}}, "twice");
}

}  // namespace

}  // namespace wick::test

// Pre-tokenizers against what the Hugging Face library does.
#include <gtest/gtest.h>

#include "harness/expect_error.hpp"
#include "text/components.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

using Texts = std::vector<std::string>;

Texts split(const json& description, const std::string& text) {
  detail::Pieces pieces{{text, true}};
  pieces = detail::make_pre_tokenizer(description, "pre_tokenizer")(std::move(pieces));
  Texts texts;
  for (const detail::Piece& piece : pieces) texts.push_back(piece.text);
  return texts;
}

Texts split(const char* type, const std::string& text) { return split(json{{"type", type}}, text); }

json split_by(const json& pattern, const char* behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}, {"invert", invert}};
}

TEST(PreTokenizer, Whitespace) {
  EXPECT_EQ(split("Whitespace", "Hey man!"), (Texts{"Hey", "man", "!"}));
  EXPECT_EQ(split("Whitespace", "How are you doing?"), (Texts{"How", "are", "you", "doing", "?"}));
  EXPECT_EQ(split("Whitespace", "\n"), Texts{});
  EXPECT_EQ(split("Whitespace", "a_1!?b\u3000c"), (Texts{"a_1", "!?", "b", "c"}));
  // Marks belong to words; a superscript digit does not.
  EXPECT_EQ(split("Whitespace", "\u0915\u093E\u0301 x\u00B2"),
            (Texts{"\u0915\u093E\u0301", "x", "\u00B2"}));
}

TEST(PreTokenizer, WhitespaceSplit) {
  EXPECT_EQ(split("WhitespaceSplit", "Hey, man, Good?"), (Texts{"Hey,", "man,", "Good?"}));
  EXPECT_EQ(split("WhitespaceSplit", "  "), Texts{});
}

TEST(PreTokenizer, Bert) {
  EXPECT_EQ(split("BertPreTokenizer", "Hey friend!     How are you?!?"),
            (Texts{"Hey", "friend", "!", "How", "are", "you", "?", "!", "?"}));
  EXPECT_EQ(split("BertPreTokenizer", "a\u3001b$c"), (Texts{"a", "\u3001", "b", "$", "c"}));
}

TEST(PreTokenizer, Punctuation) {
  EXPECT_EQ(split("Punctuation", "Hey friend!     How are you?!?"),
            (Texts{"Hey friend", "!", "     How are you", "?", "!", "?"}));
  EXPECT_EQ(split({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "you?!?"),
            (Texts{"you", "?!?"}));
  EXPECT_EQ(split({{"type", "Punctuation"}, {"behavior", "Removed"}}, "a,b"), (Texts{"a", "b"}));
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", false}}, "Hey 123 friend!"),
            (Texts{"Hey ", "123", " friend!"}));
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", true}}, "Hey 123 friend!"),
            (Texts{"Hey ", "1", "2", "3", " friend!"}));
  EXPECT_EQ(split("Digits", "12\u00BD\u2167"), (Texts{"12\u00BD\u2167"}));
}

TEST(PreTokenizer, Delimiter) {
  EXPECT_EQ(
      split({{"type", "CharDelimiterSplit"}, {"delimiter", "\u2014"}}, "the\u2014final\u2014"),
      (Texts{"the", "final"}));
}

TEST(PreTokenizer, FixedLength) {
  EXPECT_EQ(split("FixedLength", "Hello world"), (Texts{"Hello", " worl", "d"}));
  EXPECT_EQ(split({{"type", "FixedLength"}, {"length", 3}}, "Hello \U0001F44B world"),
            (Texts{"Hel", "lo ", "\U0001F44B w", "orl", "d"}));
  expect_error(ErrorKind::kParse, {"length"}, [] {
    detail::make_pre_tokenizer({{"type", "FixedLength"}, {"length", 0}}, "pre_tokenizer");
  });
}

TEST(PreTokenizer, SplitTreatsSeparatorsByItsBehavior) {
  const json dash = {{"String", "-"}};
  const std::string text = "the-final--countdown";
  EXPECT_EQ(split(split_by(dash, "Removed"), text), (Texts{"the", "final", "countdown"}));
  EXPECT_EQ(split(split_by(dash, "Isolated"), text),
            (Texts{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split(split_by(dash, "MergedWithPrevious"), text),
            (Texts{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split(split_by(dash, "MergedWithNext"), text),
            (Texts{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split(split_by(dash, "Contiguous"), text),
            (Texts{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizer, SplitByExpression) {
  const json words = {{"Regex", "\\w+|[^\\w\\s]+"}};
  EXPECT_EQ(split(split_by(words, "Removed", true), "How are you?"),
            (Texts{"How", "are", "you", "?"}));
  EXPECT_EQ(split(split_by(words, "Isolated"), "Hi you!"), (Texts{"Hi", " ", "you", "!"}));
  EXPECT_EQ(split(split_by(words, "MergedWithNext", true), "Hi you!"), (Texts{"Hi", " you", "!"}));
  EXPECT_EQ(split(split_by({{"Regex", " {2,}"}}, "Isolated"), "a b  c"), (Texts{"a b", "  ", "c"}));
}

// Where an expression matches nothing, the text is cut all the same.
TEST(PreTokenizer, SplitAtEmptyMatches) {
  EXPECT_EQ(split(split_by({{"Regex", "(?=[A-Z])"}}, "Isolated"), "oneTwoThree"),
            (Texts{"one", "Two", "Three"}));
  EXPECT_EQ(split(split_by({{"Regex", "(?=\\d)"}}, "Removed"), "a12"), (Texts{"a", "1", "2"}));
}

TEST(PreTokenizer, SplitRefusesWhatItDoesNotKnow) {
  expect_error(ErrorKind::kParse, {"behavior", "\"Doubled\""},
               [] { detail::make_pre_tokenizer(split_by({{"String", "-"}}, "Doubled"), "p"); });
  expect_error(ErrorKind::kParse, {"p.pattern", "regular expression"},
               [] { detail::make_pre_tokenizer(split_by({{"Regex", "[a"}}, "Isolated"), "p"); });
}

TEST(PreTokenizer, ByteLevel) {
  const json plain = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_EQ(split(plain, "Hello my friend, how is your day going?"),
            (Texts{"Hello", "\u0120my",
                   "\u0120"
                   "friend",
                   ",", "\u0120how", "\u0120is", "\u0120your",
                   "\u0120"
                   "day",
                   "\u0120going", "?"}));
  EXPECT_EQ(split("ByteLevel", "a"), (Texts{"\u0120"
                                            "a"}));
  EXPECT_EQ(split("ByteLevel", " a"), (Texts{"\u0120"
                                             "a"}));
  EXPECT_EQ(split({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}},
                  "Hello, you"),
            (Texts{"Hello,\u0120you"}));
  EXPECT_EQ(split(plain, "i\u20AC\n"), (Texts{"i", "\u00E2\u0124\u00AC", "\u010A"}));
}

TEST(PreTokenizer, Metaspace) {
  const auto metaspace = [](const char* scheme, bool splits) {
    return json{{"type", "Metaspace"},
                {"replacement", "\u2581"},
                {"prepend_scheme", scheme},
                {"split", splits}};
  };
  EXPECT_EQ(split(metaspace("always", true), "Hey my  friend"),
            (Texts{"\u2581Hey", "\u2581my", "\u2581",
                   "\u2581"
                   "friend"}));
  EXPECT_EQ(split(metaspace("never", true), "Hey you"), (Texts{"Hey", "\u2581you"}));
  EXPECT_EQ(split(metaspace("always", false), "Hey you"), (Texts{"\u2581Hey\u2581you"}));
  EXPECT_EQ(split(metaspace("always", true), " Hey"), (Texts{"\u2581Hey"}));
  // The older word for the same.
  EXPECT_EQ(
      split({{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", false}}, "a b"),
      (Texts{"a",
             "\u2581"
             "b"}));
  expect_error(ErrorKind::kParse, {"prepend_scheme"},
               [&] { detail::make_pre_tokenizer(metaspace("last", true), "p"); });
}

TEST(PreTokenizer, MetaspaceFirstMeansTheStartOfTheText) {
  const json first = {
      {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}};
  const detail::PreTokenizer pre_tokenizer = detail::make_pre_tokenizer(first, "p");
  const detail::Pieces pieces = pre_tokenizer({{"a", true}, {"b", false}});
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].text,
            "\u2581"
            "a");
  EXPECT_EQ(pieces[1].text, "b");
}

TEST(PreTokenizer, SequenceRunsInOrder) {
  const json both = {{"type", "Sequence"},
                     {"pretokenizers", {{{"type", "WhitespaceSplit"}}, {{"type", "Punctuation"}}}}};
  EXPECT_EQ(split(both, "Hey friend!  How?"), (Texts{"Hey", "friend", "!", "How", "?"}));
}

TEST(PreTokenizer, UnknownOnesAreNamed) {
  const json scripts = {{"type", "Sequence"},
                        {"pretokenizers", {{{"type", "Digits"}}, {{"type", "UnicodeScripts"}}}}};
  expect_error(ErrorKind::kUnsupported, {"pre_tokenizer[1]", "\"UnicodeScripts\""},
               [&] { detail::make_pre_tokenizer(scripts, "pre_tokenizer"); });
  expect_error(ErrorKind::kParse, {"p", "must be a list"}, [] {
    detail::make_pre_tokenizer({{"type", "Sequence"}, {"pretokenizers", {{"a", 1}}}}, "p");
  });
  expect_error(ErrorKind::kParse, {"delimiter"}, [] {
    detail::make_pre_tokenizer({{"type", "CharDelimiterSplit"}, {"delimiter", ""}}, "p");
  });
}

}  // namespace

}  // namespace wick::test

// Normalizers against what the Hugging Face library does.
#include <gtest/gtest.h>

#include "harness/expect_error.hpp"
#include "text/components.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

std::string normalize(const json& description, std::string_view text) {
  const detail::Normalizer normalizer = detail::make_normalizer(description, "normalizer");
  return normalizer(text);
}

std::string normalize(const char* type, std::string_view text) {
  return normalize(json{{"type", type}}, text);
}

TEST(Normalizer, NullIsNone) { EXPECT_FALSE(detail::make_normalizer(json(), "normalizer")); }

TEST(Normalizer, FormsOfUnicode) {
  const std::string e_acute = "\u00E9";
  const std::string e_and_acute = "e\u0301";
  EXPECT_EQ(normalize("NFC", e_and_acute), e_acute);
  EXPECT_EQ(normalize("NFD", e_acute), e_and_acute);
  EXPECT_EQ(normalize("NFKC", "\uFB01\u2460\u00A0x"), "fi1 x");
  EXPECT_EQ(normalize("NFKD", "\uFB01\u00E9"), "fi" + e_and_acute);
  // Compatibility characters stay in the canonical forms.
  EXPECT_EQ(normalize("NFC", "\uFB01\u00A0"), "\uFB01\u00A0");
  EXPECT_EQ(normalize("NFD", "\uFB01"), "\uFB01");
  // Hangul, and a singleton.
  EXPECT_EQ(normalize("NFD", "\uD55C"), "\u1112\u1161\u11AB");
  EXPECT_EQ(normalize("NFC", "\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_EQ(normalize("NFC", "\u212B"), "\u00C5");
  // The longest decomposition that there is.
  EXPECT_EQ(normalize("NFKD", "\uFDFA"),
            "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 "
            "\u0648\u0633\u0644\u0645");
}

TEST(Normalizer, FormsOrderMarksByTheirClass) {
  // Dot below (220) comes before circumflex (230); marks of one class keep their order.
  EXPECT_EQ(normalize("NFD", "a\u0302\u0323"), "a\u0323\u0302");
  EXPECT_EQ(normalize("NFC", "a\u0302\u0323"), "\u1EAD");
  EXPECT_EQ(normalize("NFC", "a\u0301\u0302"), "\u00E1\u0302");
  // A mark that begins the text has nothing to join.
  EXPECT_EQ(normalize("NFC", "\u0301a"), "\u0301a");
}

TEST(Normalizer, FormsLeaveNeighboursAlone) {
  EXPECT_EQ(normalize("NFC", "cafe\u0301 \u2014 plain e\u0301e"), "caf\u00E9 \u2014 plain \u00E9e");
  EXPECT_EQ(normalize("NFC", "e\u0301e\u0301"), "\u00E9\u00E9");
  EXPECT_EQ(normalize("NFC", "\u00E9\u0323"), "\u1EB9\u0301");
  EXPECT_EQ(normalize("NFC", ""), "");
}

// Its own ordering would take the square of that many steps.
TEST(Normalizer, ManyMarksInARowAreOrdered) {
  constexpr int kPairs = 200'000;
  std::string text = "a";
  std::string expected = "a";
  for (int i = 0; i < kPairs; ++i) text += "\u0301\u0323";
  for (int i = 0; i < kPairs; ++i) expected += "\u0323";
  for (int i = 0; i < kPairs; ++i) expected += "\u0301";
  EXPECT_EQ(normalize("NFD", text), expected);
}

TEST(Normalizer, Lowercase) {
  EXPECT_EQ(normalize("Lowercase", "HELLO \u00C9\u0130 \u03A3"), "hello \u00E9i\u0307 \u03C3");
}

TEST(Normalizer, StripAccentsTakesEveryMark) {
  EXPECT_EQ(normalize("StripAccents", "e\u0304\u0304o"), "eo");
  EXPECT_EQ(normalize("StripAccents", "\u00E9"), "\u00E9");
  // Spacing marks (Mc) too: the Devanagari vowel sign AA.
  EXPECT_EQ(normalize("StripAccents", "\u0915\u093E"), "\u0915");
  const json thai = {{"type", "Sequence"},
                     {"normalizers", {{{"type", "NFKD"}}, {{"type", "StripAccents"}}}}};
  EXPECT_EQ(normalize(thai, "\u0E33\u0E19\u0E49\u0E33"), "\u0E32\u0E19\u0E32");
}

TEST(Normalizer, Strip) {
  EXPECT_EQ(normalize("Strip", " \u3000 a b \n"), "a b");
  EXPECT_EQ(normalize({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, " a "),
            "a ");
  EXPECT_EQ(normalize({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}}, " a "),
            " a");
  EXPECT_EQ(normalize("Strip", " \t "), "");
}

TEST(Normalizer, Prepend) {
  const json prepend = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  EXPECT_EQ(normalize(prepend, "Hello"), "\u2581Hello");
  EXPECT_EQ(normalize(prepend, ""), "");
}

TEST(Normalizer, Replace) {
  const auto replace = [](const json& pattern, const char* content) {
    return json{{"type", "Replace"}, {"pattern", pattern}, {"content", content}};
  };
  EXPECT_EQ(normalize(replace({{"String", "''"}}, "\""), "This is a ''test''"),
            "This is a \"test\"");
  EXPECT_EQ(normalize(replace({{"Regex", "\\s+"}}, " "), "a  \n b"), "a b");
  // A pattern of text is no expression, and neither is what replaces it.
  EXPECT_EQ(normalize(replace({{"String", "."}}, "$0"), "a.b"), "a$0b");
  EXPECT_EQ(normalize(replace({{"String", ""}}, "x"), "ab"), "ab");
  // An expression that matches nothing puts its text at every such place.
  EXPECT_EQ(normalize(replace({{"Regex", "^"}}, "\u2581"), "ab"),
            "\u2581"
            "ab");
  EXPECT_EQ(normalize(replace({{"Regex", "x*"}}, "-"), "axb"), "-a-b-");
  EXPECT_EQ(normalize(replace({{"Regex", "^"}}, "\u2581"), ""), "");
}

TEST(Normalizer, Nmt) {
  EXPECT_EQ(normalize("Nmt",
                      "a\u0001\u000B\u007F\u009F"
                      "b"),
            "ab");
  EXPECT_EQ(normalize("Nmt",
                      "a\tb\u200Bc\uFEFF"
                      "d\u2581"
                      "e"),
            "a b c d e");
}

TEST(Normalizer, Bert) {
  const auto bert = [](bool clean, bool chinese, const json& strip, bool lower) {
    return json{{"type", "BertNormalizer"},
                {"clean_text", clean},
                {"handle_chinese_chars", chinese},
                {"strip_accents", strip},
                {"lowercase", lower}};
  };
  EXPECT_EQ(normalize(bert(true, true, nullptr, true), "H\u00E9llo\t\u4E2D\u6587!"),
            "hello  \u4E2D  \u6587 !");
  EXPECT_EQ(normalize(bert(true, false, false, false), std::string_view("a\0b\u200D\uFFFD", 10)),
            "ab");
  // Accents go with lower case unless the file says otherwise; only nonspacing ones do.
  EXPECT_EQ(normalize(bert(false, false, false, true), "\u00C9"), "\u00E9");
  EXPECT_EQ(normalize(bert(false, false, nullptr, false), "\u00C9"), "\u00C9");
  EXPECT_EQ(normalize(bert(false, false, true, false), "\u0915\u093E"), "\u0915\u093E");
  // A character without a meaning yet is no control character.
  EXPECT_EQ(normalize(bert(true, false, false, false), "\u0378"), "\u0378");
}

TEST(Normalizer, ByteLevel) {
  EXPECT_EQ(normalize("ByteLevel", " \u00E9\n"), "\u0120\u00C3\u00A9\u010A");
}

TEST(Normalizer, SequenceRunsInOrder) {
  const json both = {
      {"type", "Sequence"},
      {"normalizers", {{{"type", "Prepend"}, {"prepend", "A"}}, {{"type", "Lowercase"}}}}};
  EXPECT_EQ(normalize(both, "B"), "ab");
}

TEST(Normalizer, UnknownOnesAreNamed) {
  const json nested = {{"type", "Sequence"},
                       {"normalizers", {{{"type", "NFC"}}, {{"type", "Rot13"}}}}};
  expect_error(ErrorKind::kUnsupported, {"normalizer[1]", "\"Rot13\""},
               [&] { detail::make_normalizer(nested, "normalizer"); });
}

TEST(Normalizer, BrokenOnesAreRefused) {
  const std::vector<json> broken{
      json(3),
      json::array(),
      {{"kind", "NFC"}},
      {{"type", 1}},
      {{"type", "Sequence"}},
      {{"type", "Sequence"}, {"normalizers", "NFC"}},
      {{"type", "Prepend"}},
      {{"type", "Replace"}, {"content", ""}},
      {{"type", "Replace"}, {"pattern", {{"Glob", "*"}}}, {"content", ""}},
      {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}},
      {{"type", "Strip"}, {"strip_left", 1}},
      {{"type", "Precompiled"}},
  };
  for (const json& description : broken) {
    expect_error(ErrorKind::kParse, {"normalizer"},
                 [&] { detail::make_normalizer(description, "normalizer"); });
  }
}

}  // namespace

}  // namespace wick::test

// Decoders and post-processors against what the Hugging Face library does.
#include <gtest/gtest.h>

#include "harness/expect_error.hpp"
#include "text/components.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

using Texts = std::vector<std::string>;

Texts decode(const json& description, Texts tokens) {
  return detail::make_decoder(description, "decoder")(std::move(tokens));
}

Texts decode(const char* type, Texts tokens) {
  return decode(json{{"type", type}}, std::move(tokens));
}

Texts words_of(const std::string& text) {
  Texts words(1);
  for (const char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

TEST(Decoder, ByteLevel) {
  EXPECT_EQ(decode("ByteLevel", {"Hello",
                                 "\u0120"
                                 "friend",
                                 "\u010A"}),
            (Texts{"Hello friend\n"}));
  // A character in two tokens, one cut short, and a token that no byte maps to.
  EXPECT_EQ(decode("ByteLevel", {"\u00C3", "\u00A9"}), (Texts{"\u00E9"}));
  EXPECT_EQ(decode("ByteLevel", {"\u00E2\u0124", "A"}), (Texts{"\uFFFD"
                                                               "A"}));
  EXPECT_EQ(decode("ByteLevel", {"a", "\u4E2D"}), (Texts{"a\u4E2D"}));
}

TEST(Decoder, ByteFallback) {
  EXPECT_EQ(decode("ByteFallback", {"Hey", "friend!"}), (Texts{"Hey", "friend!"}));
  EXPECT_EQ(decode("ByteFallback", {"<0x61>"}), (Texts{"a"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xE5>"}), (Texts{"\uFFFD"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xE5>", "<0x8f>"}), (Texts{"\uFFFD", "\uFFFD"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xE5>", "<0x8f>", "<0xab>"}), (Texts{"\u53EB"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xE5>", "<0x8f>", "<0xab>", "a"}), (Texts{"\u53EB", "a"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xE5>", "<0x8f>", "a"}), (Texts{"\uFFFD", "\uFFFD", "a"}));
  EXPECT_EQ(decode("ByteFallback", {"<0xZZ>", "<0x123>"}), (Texts{"<0xZZ>", "<0x123>"}));
}

TEST(Decoder, Fuse) { EXPECT_EQ(decode("Fuse", {"Hey", " friend!"}), (Texts{"Hey friend!"})); }

TEST(Decoder, Strip) {
  const auto strip = [](const char* content, int start, int stop) {
    return json{{"type", "Strip"}, {"content", content}, {"start", start}, {"stop", stop}};
  };
  EXPECT_EQ(decode(strip("H", 1, 0), {"Hey", " friend!", "HHH"}), (Texts{"ey", " friend!", "HH"}));
  EXPECT_EQ(decode(strip("y", 0, 1), {"Hey", " friend!"}), (Texts{"He", " friend!"}));
  EXPECT_EQ(decode(strip(" ", 2, 2), {"   a   ", " "}), (Texts{" a ", ""}));
  expect_error(ErrorKind::kParse, {"content"}, [&] { decode(strip("", 1, 0), {}); });
}

TEST(Decoder, Metaspace) {
  const auto metaspace = [](const char* scheme) {
    return json{{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}};
  };
  EXPECT_EQ(decode(metaspace("always"), {"\u2581Hey",
                                         "\u2581"
                                         "friend!"}),
            (Texts{"Hey", " friend!"}));
  EXPECT_EQ(decode(metaspace("never"), {"\u2581Hey",
                                        "\u2581"
                                        "friend!"}),
            (Texts{" Hey", " friend!"}));
  EXPECT_EQ(decode(metaspace("first"), {"\u2581Hey", "\u2581you"}), (Texts{"Hey", " you"}));
}

TEST(Decoder, WordPiece) {
  const json decoder = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}};
  EXPECT_EQ(decode(decoder, {"##uelo", "Ara", "##új", "##o", "No", "##guera"}),
            (Texts{"##uelo", " Ara", "új", "o", " No", "guera"}));
  EXPECT_EQ(decode("WordPiece", {"do", "n", "'", "t", "go", ".", "i", "'m"}),
            (Texts{"do", " n", " '", " t", " go", ".", " i", "'m"}));
}

TEST(Decoder, Bpe) {
  EXPECT_EQ(decode({{"type", "BPEDecoder"}, {"suffix", "</w>"}}, {"hel", "lo</w>", "you</w>"}),
            (Texts{"hel", "lo ", "you"}));
}

TEST(Decoder, Ctc) {
  EXPECT_EQ(decode("CTC", words_of("<pad> <pad> h e e l l <pad> l o o o <pad>")),
            (Texts{"h", "e", "l", "l", "o"}));
  EXPECT_EQ(decode("CTC", words_of("<pad> h e e l l <pad> l o o o <pad> <pad> | <pad> w o o o r "
                                   "<pad> l l d <pad> <pad>")),
            (Texts{"h", "e", "l", "l", "o", " ", "w", "o", "r", "l", "d"}));
  EXPECT_EQ(decode({{"type", "CTC"}, {"cleanup", false}}, {"|", "a", "b<pad>"}),
            (Texts{"|", "a", "b"}));
}

TEST(Decoder, Replace) {
  const json mark = {{"type", "Replace"}, {"pattern", {{"String", "_"}}}, {"content", " "}};
  EXPECT_EQ(decode(mark, {"hello", "_hello_"}), (Texts{"hello", " hello "}));
  const json digits = {{"type", "Replace"}, {"pattern", {{"Regex", "[0-9]+"}}}, {"content", "#"}};
  EXPECT_EQ(decode(digits, {"a12b3"}), (Texts{"a#b#"}));
}

TEST(Decoder, SequenceRunsInOrder) {
  const json both = {{"type", "Sequence"},
                     {"decoders", {{{"type", "CTC"}}, {{"type", "Metaspace"}}}}};
  EXPECT_EQ(decode(both, {"\u2581", "\u2581", "H", "H", "i", "i", "\u2581", "y", "o", "u"}),
            (Texts{"", "H", "i", " ", "y", "o", "u"}));
}

TEST(Decoder, UnknownOnesAreNamed) {
  const json nested = {{"type", "Sequence"}, {"decoders", {{{"type", "Fuse"}}, {{"type", "Zip"}}}}};
  expect_error(ErrorKind::kUnsupported, {"decoder[1]", "\"Zip\""},
               [&] { detail::make_decoder(nested, "decoder"); });
  expect_error(ErrorKind::kParse, {"decoder"}, [] { detail::make_decoder("Fuse", "decoder"); });
  EXPECT_FALSE(detail::make_decoder(json(), "decoder"));
}

json template_of(const json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"special_tokens",
           {{"<s>", {{"id", "<s>"}, {"ids", {1, 7}}, {"tokens", {"<s>", "x"}}}},
            {"</s>", {{"id", "</s>"}, {"ids", {2}}, {"tokens", {"</s>"}}}}}}};
}

const json kText = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};

json special(const char* token) { return {{"SpecialToken", {{"id", token}, {"type_id", 0}}}}; }

TEST(PostProcessor, TemplatePutsItsTokensAround) {
  const detail::Frame frame = detail::make_frame(
      template_of({special("<s>"), kText, special("</s>"), special("</s>")}), "post_processor");
  EXPECT_EQ(frame.prefix, (Ids{1, 7}));
  EXPECT_EQ(frame.suffix, (Ids{2, 2}));
}

TEST(PostProcessor, BertAndRoberta) {
  for (const char* type : {"BertProcessing", "RobertaProcessing"}) {
    const detail::Frame frame =
        detail::make_frame({{"type", type}, {"sep", {"[SEP]", 102}}, {"cls", {"[CLS]", 101}}}, "p");
    EXPECT_EQ(frame.prefix, Ids{101});
    EXPECT_EQ(frame.suffix, Ids{102});
  }
}

TEST(PostProcessor, ByteLevelAddsNothing) {
  const detail::Frame frame = detail::make_frame({{"type", "ByteLevel"}}, "p");
  EXPECT_TRUE(frame.prefix.empty());
  EXPECT_TRUE(frame.suffix.empty());
}

TEST(PostProcessor, SequenceNests) {
  const json both = {
      {"type", "Sequence"},
      {"processors",
       {template_of({special("<s>"), kText}),
        {{"type", "BertProcessing"}, {"sep", {"[SEP]", 102}}, {"cls", {"[CLS]", 101}}}}}};
  const detail::Frame frame = detail::make_frame(both, "p");
  EXPECT_EQ(frame.prefix, (Ids{101, 1, 7}));
  EXPECT_EQ(frame.suffix, Ids{102});
}

TEST(PostProcessor, BrokenOnesAreRefused) {
  const std::vector<json> broken{
      json(1),
      {{"type", "TemplateProcessing"}},
      template_of({special("<s>")}),
      template_of({kText, kText}),
      template_of({kText, special("<unknown>")}),
      template_of({kText, {{"Other", 1}}}),
      {{"type", "BertProcessing"}, {"sep", {"[SEP]", -1}}, {"cls", {"[CLS]", 101}}},
      {{"type", "BertProcessing"}, {"sep", {"[SEP]", 1e10}}, {"cls", {"[CLS]", 101}}},
      {{"type", "BertProcessing"}, {"sep", "[SEP]"}, {"cls", {"[CLS]", 101}}},
      {{"type", "Sequence"}, {"processors", 3}},
  };
  for (const json& description : broken) {
    expect_error(ErrorKind::kParse, {"post_processor"},
                 [&] { detail::make_frame(description, "post_processor"); });
  }
  expect_error(ErrorKind::kUnsupported, {"\"Unheard\""},
               [] { detail::make_frame({{"type", "Unheard"}}, "post_processor"); });
}

}  // namespace

}  // namespace wick::test

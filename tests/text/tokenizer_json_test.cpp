// Whole files that are broken or hostile, and texts that are.
#include <gtest/gtest.h>

#include <filesystem>

#include "harness/expect_error.hpp"
#include "text/tokenizer_support.hpp"

namespace wick::test {

namespace {

void refused(std::string_view text, const std::vector<std::string>& parts,
             ErrorKind kind = ErrorKind::kParse) {
  expect_error(kind, parts, [&] { Tokenizer::from_json(text, "some/tokenizer.json"); });
}

TEST(TokenizerJson, WithoutAModelItIsRefused) {
  refused("{}", {"some/tokenizer.json", "model", "missing"});
  refused(R"({"model": null})", {"some/tokenizer.json", "model", "missing"});
  refused(R"({"model": 3})", {"some/tokenizer.json", "model"});
  refused(R"({"model": {}})", {"some/tokenizer.json", "model"}, ErrorKind::kUnsupported);
  refused("[]", {"some/tokenizer.json", "object"});
}

TEST(TokenizerJson, BrokenJsonIsRefusedWithItsByte) {
  refused("", {"some/tokenizer.json", "byte 0"});
  refused("{\"model\": }", {"some/tokenizer.json", "byte 10"});
  refused("{} x", {"some/tokenizer.json", "byte 3"});
  refused("{\"a\": \"\xFF\"}", {"some/tokenizer.json", "byte 7"});
  refused(R"({"model": {}, "model": {}})", {"byte 14", "\"model\"", "twice"});
  refused(std::string_view("{\0}", 3), {"byte 1", "zero byte"});
}

TEST(TokenizerJson, DepthIsLimited) {
  constexpr int kLevels = 10'000;
  std::string lists(kLevels, '[');
  refused(lists, {"some/tokenizer.json", "deep"});
  std::string nested =
      R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": )";
  for (int i = 0; i < kLevels; ++i) nested += R"({"type": "Sequence", "normalizers": [)";
  refused(nested, {"some/tokenizer.json", "deep"});
}

TEST(TokenizerJson, EveryFixtureCutShortIsRefused) {
  for (const std::string& name : fixture_names()) {
    const std::string whole = read_file(tokenizer_folder(name) / "tokenizer.json");
    for (std::size_t part = 0; part < 40; ++part) {
      refused(whole.substr(0, whole.size() * part / 40), {"some/tokenizer.json", "byte"});
    }
  }
}

TEST(TokenizerJson, UnknownComponentsAreNamed) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    json description = bpe({"a"}, json::array());
    description[part] = {{"type", "FromTheFuture"}};
    expect_error(ErrorKind::kUnsupported, {"test", part, "\"FromTheFuture\""},
                 [&] { tokenizer_of(description); });
  }
}

TEST(TokenizerJson, TokensOfThePostProcessorMustExist) {
  json description = bpe({"a"}, json::array());
  description["post_processor"] = {
      {"type", "BertProcessing"}, {"sep", {"[SEP]", 102}}, {"cls", {"a", 0}}};
  expect_error(ErrorKind::kParse, {"post_processor", "102"}, [&] { tokenizer_of(description); });
}

TEST(TokenizerFile, AFolderOrItsFile) {
  const Tokenizer from_folder = Tokenizer::from_file(tokenizer_folder("gpt2"));
  const Tokenizer from_file = Tokenizer::from_file(tokenizer_folder("gpt2") / "tokenizer.json");
  EXPECT_EQ(from_folder.encode("the same"), from_file.encode("the same"));
  expect_error(ErrorKind::kIo, {"tokenizer.json", "No such file"},
               [] { Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES)); });
  expect_error(ErrorKind::kIo, {"/no/such/place"}, [] { Tokenizer::from_file("/no/such/place"); });
}

TEST(TokenizerText, InvalidUtf8IsRefusedWithItsByte) {
  for (const std::string& name : fixture_names()) {
    const Tokenizer tokenizer = fixture_tokenizer(name);
    for (const char* bad :
         {"ab\xFF", "ab\xC3", "ab\xED\xA0\x80", "ab\xC0\x80", "ab\xF4\x90\x80\x80"}) {
      expect_error(ErrorKind::kArgument, {"UTF-8", "byte 2"}, [&] { tokenizer.encode(bad); });
    }
  }
}

TEST(TokenizerText, IdsThatDoNotExistAreRefusedWithTheirPlace) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  expect_error(ErrorKind::kArgument, {"-1", "position 1"}, [&] { tokenizer.decode(Ids{5, -1}); });
  expect_error(ErrorKind::kArgument, {"1000000", "position 0"},
               [&] { tokenizer.decode(Ids{1000000}); });
}

TEST(TokenizerText, ZeroBytesAreTextLikeAnyOther) {
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  const std::string text("a\0b", 3);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

}  // namespace

}  // namespace wick::test

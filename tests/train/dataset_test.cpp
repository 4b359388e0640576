#include "wick/train/dataset.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/data_support.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::test {

namespace {

using Ids = std::vector<std::int32_t>;
using Marks = std::vector<std::uint8_t>;

constexpr EncodeOptions kBare{.add_special_tokens = false, .parse_special_tokens = true};
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

const Tokenizer& gpt2() {
  static const Tokenizer tokenizer = fixture_tokenizer("gpt2");
  return tokenizer;
}

std::int32_t end_of_text() { return gpt2().token_to_id("<|im_end|>").value(); }

DatasetOptions with_end() { return {.eos_token_id = end_of_text()}; }

Dataset load(const TempFolder& folder, std::string_view content, const DatasetOptions& options = {},
             const std::string& name = "data.jsonl") {
  return Dataset::from_file(folder.write(name, content), gpt2(), options);
}

std::string load_error(const TempFolder& folder, std::string_view content,
                       const DatasetOptions& options = {}, const std::string& name = "data.jsonl") {
  return error_of([&] { load(folder, content, options, name); }, folder.path());
}

TEST(Dataset, SamplesAreKeptAsGiven) {
  Dataset dataset;
  EXPECT_EQ(dataset.size(), 0);
  EXPECT_EQ(dataset.max_length(), 0);
  dataset.add(Ids{1, 2, 3}, Marks{1, 0, 1});
  dataset.add(Ids{4}, Marks{1});
  EXPECT_EQ(dataset.size(), 2);
  EXPECT_EQ(ids_of(dataset[0]), (Ids{1, 2, 3}));
  EXPECT_EQ(marks_of(dataset[0]), "101");
  EXPECT_EQ(ids_of(dataset[1]), (Ids{4}));
  EXPECT_EQ(dataset.num_tokens(), 4);
  EXPECT_EQ(dataset.num_targets(), 1) << "nothing precedes the first token of a sample";
  EXPECT_EQ(dataset.max_length(), 3);
  EXPECT_EQ(dataset.num_truncated(), 0);
}

TEST(Dataset, BadSamplesAreRefused) {
  Dataset dataset;
  EXPECT_EQ(error_of([&] { dataset.add({}, {}); }),
            "argument: data set: a sample must have tokens");
  EXPECT_EQ(error_of([&] { dataset.add(Ids{1, 2}, Marks{1}); }),
            "argument: data set: a sample has 2 ids, but 1 marks of targets");
  EXPECT_EQ(dataset.size(), 0);
  EXPECT_EQ(error_of([&] { (void)dataset[0]; }),
            "argument: data set: there is no sample 0: the data set has 0");
  EXPECT_EQ(error_of([&] { (void)dataset[-1]; }),
            "argument: data set: there is no sample -1: the data set has 0");
}

TEST(Dataset, FingerprintKnowsEveryIdMarkAndLength) {
  const auto fingerprint = [](const std::vector<std::pair<Ids, Marks>>& samples) {
    Dataset dataset;
    for (const auto& [ids, marks] : samples) dataset.add(ids, marks);
    return dataset.fingerprint();
  };
  const auto reference = fingerprint({{{1, 2, 3}, {0, 1, 1}}, {{5}, {1}}});
  EXPECT_EQ(reference, 0x6B6DC2D68963A172u) << "another value breaks the resuming of older runs";
  EXPECT_EQ(reference, fingerprint({{{1, 2, 3}, {0, 1, 1}}, {{5}, {1}}}));
  EXPECT_NE(reference, fingerprint({{{1, 2, 4}, {0, 1, 1}}, {{5}, {1}}}));
  EXPECT_NE(reference, fingerprint({{{1, 2, 3}, {1, 1, 1}}, {{5}, {1}}}));
  EXPECT_NE(reference, fingerprint({{{1, 2}, {0, 1}}, {{3, 5}, {1, 1}}}));
  EXPECT_NE(reference, fingerprint({{{1, 2, 3, 5}, {0, 1, 1, 1}}}));
  EXPECT_NE(reference, fingerprint({{{5}, {1}}, {{1, 2, 3}, {0, 1, 1}}}));
  EXPECT_NE(reference, fingerprint({{{1, 2, 3}, {0, 1, 1}}}));
}

TEST(DatasetFile, TextRecordsEndWithTheEndToken) {
  const TempFolder folder;
  const Dataset dataset = load(
      folder, "{\"text\": \"Hello world\"}\n{\"id\": 3, \"text\": \"a<|im_end|>\"}\n", with_end());
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(ids_of(dataset[0]), joined(gpt2().encode("Hello world"), Ids{end_of_text()}));
  EXPECT_EQ(dataset.num_targets(), dataset.num_tokens() - 2);
  EXPECT_EQ(ids_of(dataset[1]), gpt2().encode("a<|im_end|>")) << "it is there already";
  EXPECT_EQ(ids_of(dataset[1]).back(), end_of_text());
}

TEST(DatasetFile, OfPromptAndCompletionTheCompletionIsLearnt) {
  const TempFolder folder;
  const std::string line = R"({"prompt": "2+2=", "completion": " 4!"})";
  const Ids prompt = gpt2().encode("2+2=", kBare);
  const Ids completion = joined(gpt2().encode(" 4!", kBare), Ids{end_of_text()});
  const Dataset dataset = load(folder, line, with_end());
  ASSERT_EQ(dataset.size(), 1);
  EXPECT_EQ(ids_of(dataset[0]), joined(prompt, completion));
  EXPECT_EQ(marks_of(dataset[0]),
            std::string(prompt.size(), '0') + std::string(completion.size(), '1'));
  DatasetOptions options = with_end();
  options.mask = LossMask::kLastTurn;
  EXPECT_EQ(load(folder, line, options).fingerprint(), dataset.fingerprint());
  options.mask = LossMask::kAll;
  EXPECT_EQ(marks_of(load(folder, line, options)[0]),
            std::string(prompt.size() + completion.size(), '1'));
}

TEST(DatasetFile, LongTextBecomesPiecesThatKeepEveryTarget) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 60; ++i) text += "word" + std::to_string(i) + " ";
  const Ids whole = joined(gpt2().encode(text), Ids{end_of_text()});
  for (const std::int64_t longest : {2, 3, 7, 64}) {
    DatasetOptions options = with_end();
    options.max_seq_length = longest;
    const Dataset dataset = load(folder, "{\"text\": \"" + text + "\"}", options);
    ASSERT_GT(dataset.size(), 1);
    EXPECT_LE(dataset.max_length(), longest);
    EXPECT_EQ(dataset.num_targets(), static_cast<std::int64_t>(whole.size()) - 1);
    Ids again = {whole[0]};
    for (std::int64_t i = 0; i < dataset.size(); ++i) {
      const Ids ids = ids_of(dataset[i]);
      EXPECT_EQ(ids.front(), again.back()) << "a piece begins with the token before it";
      ASSERT_GE(ids.size(), 2u);
      again.insert(again.end(), ids.begin() + 1, ids.end());
    }
    EXPECT_EQ(again, whole);
    EXPECT_EQ(dataset.num_truncated(), 0);
  }
  DatasetOptions options = with_end();
  options.max_seq_length = static_cast<std::int64_t>(whole.size());
  EXPECT_EQ(load(folder, "{\"text\": \"" + text + "\"}", options).size(), 1);
}

TEST(DatasetFile, OfALongPromptTheBeginningIsCutAndOfALongCompletionTheEnd) {
  const TempFolder folder;
  const std::string line = R"({"prompt": "a b c d e f g h", "completion": " 1 2 3 4"})";
  const Ids prompt = gpt2().encode("a b c d e f g h", kBare);
  const Ids completion = gpt2().encode(" 1 2 3 4", kBare);
  const Ids whole = joined(prompt, completion);
  const auto n = static_cast<std::int64_t>(whole.size());
  const auto answer = static_cast<std::int64_t>(completion.size());
  for (std::int64_t longest = 2; longest <= n; ++longest) {
    const Dataset dataset = load(folder, line, {.max_seq_length = longest});
    ASSERT_EQ(dataset.size(), 1);
    EXPECT_EQ(dataset.num_truncated(), longest < n ? 1 : 0);
    EXPECT_EQ(dataset.max_length(), longest);
    // At least one token of the prompt stays.
    const auto prompt_left = std::max<std::int64_t>(1, longest - answer);
    const auto begin = whole.begin() + static_cast<std::int64_t>(prompt.size()) - prompt_left;
    EXPECT_EQ(ids_of(dataset[0]), Ids(begin, begin + longest)) << longest;
    EXPECT_EQ(dataset.num_targets(), longest - prompt_left);
  }
}

TEST(DatasetFile, PlainTextIsOneDocument) {
  const TempFolder folder;
  const std::string text = "One line.\nAnother, \"quoted\" {\n\n";
  const Dataset dataset =
      load(folder, std::string(kByteOrderMark) + text, with_end(), "corpus.txt");
  ASSERT_EQ(dataset.size(), 1);
  EXPECT_EQ(ids_of(dataset[0]), joined(gpt2().encode(text), Ids{end_of_text()}));
  EXPECT_EQ(load_error(folder, "", {}, "empty.txt"), "parse: empty.txt: holds no text");
  const std::string error = load_error(folder, "abc\xFF", {}, "bad.txt");
  EXPECT_TRUE(error.starts_with("argument: bad.txt: ")) << error;
  EXPECT_NE(error.find("byte 3"), std::string::npos) << error;
}

TEST(DatasetFile, TextsInMemoryAreRecords) {
  const std::vector<std::string> texts = {"Hello", "wide world"};
  const Dataset dataset = Dataset::from_texts(texts, gpt2(), with_end());
  const TempFolder folder;
  EXPECT_EQ(
      dataset.fingerprint(),
      load(folder, "{\"text\":\"Hello\"}\n{\"text\":\"wide world\"}", with_end()).fingerprint());
  const std::vector<std::string> bad = {"Hello", ""};
  EXPECT_EQ(error_of([&] { Dataset::from_texts(bad, gpt2(), {}); }),
            "argument: text 1: must not be empty");
}

TEST(DatasetFile, LineEndsAndByteOrderMarkDoNotMatter) {
  const TempFolder folder;
  const auto reference = load(folder, "{\"text\":\"a\"}\n{\"text\":\"b\"}\n").fingerprint();
  EXPECT_EQ(load(folder, "{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n").fingerprint(), reference);
  EXPECT_EQ(load(folder, "{\"text\":\"a\"}\n{\"text\":\"b\"}").fingerprint(), reference);
  EXPECT_EQ(load(folder, "{\"text\":\"a\"}\n{\"text\":\"b\"}\n\n").fingerprint(), reference);
  EXPECT_EQ(load(folder, "{\"text\":\"a\"}\n{\"text\":\"b\"}\n \t\r\n").fingerprint(), reference);
  EXPECT_EQ(load(folder, std::string(kByteOrderMark) + " {\"text\":\"a\"}\n{\"text\":\"b\"}")
                .fingerprint(),
            reference);
}

TEST(DatasetFile, TheFirstRecordDecidesTheKind) {
  const TempFolder folder;
  const std::string both = R"({"text": "t", "prompt": "p", "completion": "c"})";
  EXPECT_EQ(ids_of(load(folder, both)[0]), gpt2().encode("pc", kBare));
  EXPECT_EQ(ids_of(load(folder, "{\"text\": \"t\", \"prompt\": \"p\"}")[0]), gpt2().encode("t"));
  EXPECT_EQ(load_error(folder, both + "\n{\"text\": \"t\"}"),
            "parse: data.jsonl:2: must have \"prompt\" and \"completion\" like the file's first "
            "record; its keys: \"text\"");
}

TEST(DatasetFile, BadRecordsAreNamedWithTheirLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "parse: data.jsonl:1: each line must be a JSON object, got []"},
      {"{}",
       "parse: data.jsonl:1: a record must have \"messages\", \"prompt\" and \"completion\", or "
       "\"text\"; its keys: none"},
      {R"({"txt": "a", "prompt": "b"})",
       "parse: data.jsonl:1: a record must have \"messages\", \"prompt\" and \"completion\", or "
       "\"text\"; its keys: \"prompt\", \"txt\""},
      {R"({"text": 3})", "parse: data.jsonl:1: text: must be a string, got 3"},
      {R"({"text": null})", "parse: data.jsonl:1: text: must be a string, got null"},
      {R"({"text": ""})", "parse: data.jsonl:1: text: must not be empty"},
      {"{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n",
       "parse: data.jsonl:2: the line is blank, but must hold a JSON object"},
      {"{\"text\": \"a\"}\n\n\n",
       "parse: data.jsonl:2: the line is blank, but must hold a JSON object"},
      {"{\"text\": \"a\"}\n{\"text\": \"b\"", "parse: data.jsonl:2: byte 12: "},
      {"{\"text\": \"a\"} {\"text\": \"b\"}", "parse: data.jsonl:1: byte 14: "},
      {"{\"text\": \"a\"}\n{\"text\": \"a\", \"text\": \"b\"}", "parse: data.jsonl:2: byte 14: "},
      {R"({"text": "\ud800"})", "parse: data.jsonl:1: byte 1"},
      {"{\"text\": \"ab\xFF\"}", "parse: data.jsonl:1: byte 12: "},
      {"{\"text\": \"\xED\xA0\x80\"}", "parse: data.jsonl:1: byte 1"},
      {std::string("{\"text\": \"a\"}\n\0\n", 16), "parse: data.jsonl:2: byte 0: "},
      {R"({"prompt": "a", "completion": ["b"]})",
       "parse: data.jsonl:1: \"prompt\" and \"completion\" must be two strings or two lists of "
       "messages, got \"a\" and a list"},
      {R"({"prompt": "a", "completion": ""})",
       "parse: data.jsonl:1: completion: must not be empty: nothing could be learnt"},
      {"", "parse: data.jsonl: holds no records"},
      {"\n", "parse: data.jsonl: holds no records"},
  };
  const TempFolder folder;
  for (const auto& [content, expected] : cases) {
    const std::string error = load_error(folder, content);
    EXPECT_TRUE(error.starts_with(expected)) << content << "\n  gives " << error;
  }
}

TEST(DatasetFile, InvalidUtf8IsSaidToBeThat) {
  const TempFolder folder;
  const std::string error = load_error(folder, "{\"text\": \"ab\xFF\"}");
  EXPECT_NE(error.find("UTF-8"), std::string::npos) << error;
}

TEST(DatasetFile, DeepNestingIsRefused) {
  const TempFolder folder;
  const std::string deep =
      "{\"text\": \"a\", \"x\": " + std::string(10000, '[') + std::string(10000, ']') + "}";
  EXPECT_EQ(load_error(folder, "{\"text\": \"a\"}\n" + deep),
            "parse: data.jsonl:2: byte 274: lists and objects nest more than 256 deep");
  const std::string shallow =
      "{\"text\": \"a\", \"x\": " + std::string(200, '[') + std::string(200, ']') + "}";
  EXPECT_EQ(load(folder, shallow).size(), 1);
}

TEST(DatasetFile, ManyKeysAreNotAllListed) {
  const TempFolder folder;
  std::string line = "{";
  for (int i = 10; i < 99; ++i) line += "\"k" + std::to_string(i) + "\": 1, ";
  line += "\"" + std::string(1000, 'z') + "\": 1}";
  const std::string error = load_error(folder, line);
  EXPECT_TRUE(
      error.ends_with("its keys: \"k10\", \"k11\", \"k12\", \"k13\", \"k14\", \"k15\", "
                      "\"k16\", \"k17\", …"))
      << error;
}

TEST(DatasetFile, MissingFilesAndBadOptions) {
  const TempFolder folder;
  EXPECT_TRUE(
      error_of([&] { Dataset::from_file(folder.path() / "no.jsonl", gpt2(), {}); }, folder.path())
          .starts_with("io: no.jsonl: "));
  EXPECT_EQ(load_error(folder, "{\"text\": \"a\"}", {.max_seq_length = 1}),
            "argument: data set: max_seq_length must be at least 2, got 1");
}

TEST(DatasetFile, OneBadLineInAMillionIsFound) {
  constexpr int kBad = 999983;
  std::string content;
  for (int i = 1; i <= 1000000; ++i) {
    content += i == kBad ? "{\"text\":\"ab}\n" : "{\"text\":\"ab\"}\n";
  }
  const TempFolder folder;
  const std::string error = load_error(folder, content);
  EXPECT_TRUE(error.starts_with("parse: data.jsonl:999983: byte 12: ")) << error;
}

TEST(DatasetFile, TheNumberOfThreadsChangesNothing) {
  std::string content;
  for (int i = 0; i < 40000; ++i) {
    content += "{\"text\": \"line " + std::to_string(i) + " of a file in many blocks\"}\n";
  }
  const TempFolder folder;
  const int before = num_threads();
  std::vector<std::uint64_t> fingerprints;
  std::vector<std::string> errors;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const Dataset dataset = load(folder, content);
    EXPECT_EQ(dataset.size(), 40000);
    EXPECT_EQ(ids_of(dataset[39999]), gpt2().encode("line 39999 of a file in many blocks"));
    fingerprints.push_back(dataset.fingerprint());
    std::string broken = content;
    for (const char* place : {"line 20011 ", "line 20012 ", "line 39000 "}) {
      broken[broken.find(place) - 1] = ' ';
    }
    errors.push_back(load_error(folder, broken));
  }
  set_num_threads(before);
  EXPECT_EQ(fingerprints, std::vector<std::uint64_t>(3, fingerprints[0]));
  EXPECT_TRUE(errors[0].starts_with("parse: data.jsonl:20012: ")) << errors[0];
  EXPECT_EQ(errors, std::vector<std::string>(3, errors[0])) << "not the first broken line";
}

TEST(DataFiles, OfAFolder) {
  const TempFolder folder;
  EXPECT_EQ(error_of([&] { find_data_files(folder.path()); }, folder.path().parent_path()),
            "io: " + folder.path().filename().string() +
                ": the folder has neither train.jsonl nor train.txt");
  folder.write("train.jsonl", "{}");
  EXPECT_EQ(find_data_files(folder.path()).train, folder.path() / "train.jsonl");
  EXPECT_TRUE(find_data_files(folder.path()).valid.empty());
  EXPECT_TRUE(find_data_files(folder.path()).test.empty());
  folder.write("test.txt", "t");
  for (const char* name : {"valid.jsonl", "validation.txt", "val.jsonl"}) {
    folder.write(name, "v");
    const DataFiles files = find_data_files(folder.path());
    EXPECT_EQ(files.valid, folder.path() / name);
    EXPECT_EQ(files.test, folder.path() / "test.txt");
    std::filesystem::remove(folder.path() / name);
  }
  folder.write("valid.jsonl", "{}");
  folder.write("val.txt", "v");
  const std::string error = error_of([&] { find_data_files(folder.path()); });
  EXPECT_NE(error.find("has both valid.jsonl and val.txt"), std::string::npos) << error;
}

TEST(DataFiles, OneFileOrNone) {
  const TempFolder folder;
  const auto file = folder.write("mine.jsonl", "{}");
  EXPECT_EQ(find_data_files(file).train, file);
  EXPECT_TRUE(find_data_files(file).valid.empty());
  EXPECT_EQ(error_of([&] { find_data_files(folder.path() / "no"); }, folder.path()),
            "io: no: there is no such file or folder");
}

}  // namespace

}  // namespace wick::test

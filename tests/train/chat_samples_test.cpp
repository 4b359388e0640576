#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/data_support.hpp"
#include "train/tokenizers.hpp"
#include "wick/text/chat_template.hpp"
#include "wick/train/dataset.hpp"

namespace wick::test {

namespace {

using Ids = std::vector<std::int32_t>;

constexpr EncodeOptions kWithSpecials{.add_special_tokens = false, .parse_special_tokens = true};

DatasetOptions chatml(LossMask mask = LossMask::kAuto) {
  return {.mask = mask, .chat_template = ChatTemplate::named("chatml")};
}

Dataset load(const TempFolder& folder, std::string_view content, const DatasetOptions& options) {
  return Dataset::from_file(folder.write("chat.jsonl", content), qwen2(), options);
}

std::string load_error(const TempFolder& folder, std::string_view content,
                       const DatasetOptions& options) {
  return error_of([&] { load(folder, content, options); }, folder.path());
}

// The text of the tokens that are learnt.
std::string learnt_text(const Sample& sample) {
  Ids ids;
  for (std::size_t i = 0; i < sample.ids.size(); ++i) {
    if (sample.is_target[i] != 0) ids.push_back(sample.ids[i]);
  }
  return qwen2().decode(ids, false);
}

constexpr std::string_view kTwoTurns =
    R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
 {"role": "assistant", "content": "first"}, {"role": "user", "content": "r"},
 {"role": "assistant", "content": "second"}]})";

// The line breaks of the raw strings are for reading only.
std::string line(std::string_view text) { return replaced(std::string(text), "\n", ""); }

TEST(ChatSamples, MasksChooseTheTurns) {
  const TempFolder folder;
  const auto learnt = [&](LossMask mask) {
    const Dataset dataset = load(folder, line(kTwoTurns), chatml(mask));
    EXPECT_EQ(dataset.size(), 1);
    return learnt_text(dataset[0]);
  };
  EXPECT_EQ(learnt(LossMask::kAuto), "first<|im_end|>second<|im_end|>");
  EXPECT_EQ(learnt(LossMask::kLastTurn), "second<|im_end|>");
  const std::string all = learnt(LossMask::kAll);
  EXPECT_NE(all.find("<|im_start|>user\nq<|im_end|>"), std::string::npos) << all;
}

TEST(ChatSamples, ListsOfMessagesAsPromptAndCompletion) {
  const TempFolder folder;
  const std::string record = line(
      R"({"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
 {"role": "assistant", "content": "first"}, {"role": "user", "content": "r"}],
 "completion": [{"role": "assistant", "content": "second"}]})");
  const Dataset dataset = load(folder, record, chatml());
  EXPECT_EQ(learnt_text(dataset[0]), "second<|im_end|>");
  EXPECT_EQ(ids_of(dataset[0]), ids_of(load(folder, line(kTwoTurns), chatml())[0]));
}

TEST(ChatSamples, PromptsMayBeWrittenAsConversations) {
  const TempFolder folder;
  DatasetOptions options = chatml();
  options.template_for_prompts = true;
  const Dataset wrapped = load(folder, R"({"prompt": "q<|im_end|>", "completion": "a"})", options);
  const Dataset chat = load(folder,
                            line(
                                R"({"messages": [{"role": "user", "content": "q<|im_end|>"},
 {"role": "assistant", "content": "a"}]})"),
                            chatml());
  EXPECT_EQ(wrapped.fingerprint(), chat.fingerprint());
  EXPECT_EQ(learnt_text(wrapped[0]), "a<|im_end|>");
}

TEST(ChatSamples, LongConversationsKeepTheFirstAnswerWhole) {
  const TempFolder folder;
  const Dataset whole = load(folder, line(kTwoTurns), chatml());
  const Ids ids = ids_of(whole[0]);
  const std::string marks = marks_of(whole[0]);
  const std::size_t answer_begin = marks.find('1');
  const std::size_t answer_end = marks.find('0', answer_begin);
  for (std::size_t longest = 2; longest < ids.size(); ++longest) {
    DatasetOptions options = chatml();
    options.max_seq_length = static_cast<std::int64_t>(longest);
    const Dataset dataset = load(folder, line(kTwoTurns), options);
    EXPECT_EQ(dataset.num_truncated(), 1);
    const std::size_t missing = answer_end - std::min(answer_end, longest);
    const auto begin =
        ids.begin() + static_cast<std::ptrdiff_t>(std::min(missing, answer_begin - 1));
    EXPECT_EQ(ids_of(dataset[0]), Ids(begin, begin + static_cast<std::ptrdiff_t>(longest)))
        << longest;
  }
}

TEST(ChatSamples, TheBeginOfTextTokenSurvivesShortening) {
  const Tokenizer tokenizer = fixture_tokenizer("llama2-sp");
  const Ids begin_of_text = tokenizer.prefix_ids();
  ASSERT_EQ(begin_of_text.size(), 1u);
  const TempFolder folder;
  const auto file = folder.write(
      "data.jsonl", R"({"prompt": "one two three four five six", "completion": " seven"})");
  const Dataset whole = Dataset::from_file(file, tokenizer, {});
  const Dataset cut =
      Dataset::from_file(file, tokenizer, {.max_seq_length = whole.num_tokens() - 3});
  const Ids ids = ids_of(whole[0]);
  EXPECT_EQ(ids_of(cut[0]), joined(begin_of_text, std::span(ids).subspan(4)));
  EXPECT_EQ(cut.num_targets(), whole.num_targets());
}

TEST(PromptSamples, ACompletionGoesOnFromThePrompt) {
  const TempFolder folder;
  const auto file = folder.write("data.jsonl",
                                 "{\"prompt\": \"one two\", \"completion\": \" three\"}\n"
                                 "{\"prompt\": \"answ\", \"completion\": \"er\"}\n");
  for (const auto& [name, tokenizer] : tokenizers()) {
    SCOPED_TRACE(name);
    const Dataset dataset = Dataset::from_file(file, tokenizer, {});
    const Ids& prefix = tokenizer.prefix_ids();
    EXPECT_EQ(ids_of(dataset[0]), joined(prefix, tokenizer.encode("one two three", kWithSpecials)));
    for (const auto& [sample, prompt] : {std::pair(0, "one two"), std::pair(1, "answ")}) {
      const Ids prompt_ids = joined(prefix, tokenizer.encode(prompt, kWithSpecials));
      const std::string marks = marks_of(dataset[sample]);
      ASSERT_GT(marks.size(), prompt_ids.size());
      EXPECT_TRUE(std::ranges::equal(dataset[sample].ids.first(prompt_ids.size()), prompt_ids));
      EXPECT_EQ(marks, std::string(prompt_ids.size(), '0') +
                           std::string(marks.size() - prompt_ids.size(), '1'));
    }
  }
}

TEST(ChatSamples, BadMessagesAreNamedWithTheirPlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"messages": []})",
       "parse: chat.jsonl:1: messages: must be a list of messages that is not empty, got []"},
      {R"({"messages": "hi"})",
       "parse: chat.jsonl:1: messages: must be a list of messages that is not empty, got \"hi\""},
      {R"({"messages": ["hi"]})",
       "parse: chat.jsonl:1: messages[0]: must be an object with \"role\" and \"content\", got "
       "\"hi\""},
      {R"({"messages": [{"role": "user"}]})",
       "parse: chat.jsonl:1: messages[0]: must have the key \"content\"; its keys: \"role\""},
      {R"({"messages": [{"from": "human", "value": "x"}]})",
       "parse: chat.jsonl:1: messages[0]: must have the key \"role\"; its keys: \"from\", "
       "\"value\""},
      {R"({"messages": [{"role": "user", "content": null}]})",
       "parse: chat.jsonl:1: messages[0].content: must be a string, got null"},
      {R"({"messages": [{"role": "human", "content": "x"}]})",
       "parse: chat.jsonl:1: messages[0].role: must be \"system\", \"user\" or \"assistant\", got "
       "\"human\""},
      {R"({"messages": [{"role": 1, "content": "x"}]})",
       "parse: chat.jsonl:1: messages[0].role: must be a string, got 1"},
      {R"({"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]})",
       "unsupported: chat.jsonl:1: messages[1].role: \"tool\" is not supported: conversations "
       "with tools cannot be trained on yet"},
      {R"({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]})",
       "unsupported: chat.jsonl:1: messages[0]: \"tool_calls\" is not supported: conversations "
       "with tools cannot be trained on yet"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tools": [{}]})",
       "unsupported: chat.jsonl:1: \"tools\" is not supported: conversations with tools cannot "
       "be trained on yet"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]})",
       "unsupported: chat.jsonl:1: messages[0].content: a list of parts is not supported: content "
       "must be one string"},
      {R"({"messages": [{"role": "user", "content": "x"}]})",
       "parse: chat.jsonl:1: messages: must have a message of the role \"assistant\": nothing else "
       "is learnt"},
      {R"({"prompt": [{"role": "assistant", "content": "x"}], "completion": [{"role": "user", "content": "x"}]})",
       "parse: chat.jsonl:1: completion: must have a message of the role \"assistant\": nothing "
       "else is learnt"},
  };
  const TempFolder folder;
  for (const auto& [record, expected] : cases) {
    EXPECT_EQ(load_error(folder, record, chatml()), expected);
  }
  EXPECT_EQ(
      load(folder, R"({"messages": [{"role": "assistant", "content": "x", "tool_calls": null}]})",
           chatml())
          .size(),
      1);
}

TEST(ChatSamples, MessagesNeedATemplate) {
  const TempFolder folder;
  const std::string error = load_error(folder, line(kTwoTurns), {});
  EXPECT_TRUE(error.starts_with(
      "argument: chat.jsonl:1: messages need a chat template, which says how turns are written; "
      "name one with --chat-template: "))
      << error;
  EXPECT_NE(error.find("chatml"), std::string::npos) << error;
}

TEST(ChatSamples, ATemplateMustFitTheTokenizer) {
  const TempFolder folder;
  const auto file = folder.write("chat.jsonl", line(kTwoTurns));
  const Tokenizer tokenizer = fixture_tokenizer("llama2-sp");
  EXPECT_EQ(error_of([&] { Dataset::from_file(file, tokenizer, chatml()); }),
            "argument: data set: the chat template chatml ends a turn with <|im_end|>, which the "
            "tokenizer does not have: an answer would never end; name the template that the model "
            "was made for");
}

}  // namespace

}  // namespace wick::test

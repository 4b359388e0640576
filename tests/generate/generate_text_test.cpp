#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/support.hpp"
#include "harness/expect_error.hpp"

namespace wick {

namespace {

using test::Ids;
using Pieces = std::vector<std::string>;

bool is_valid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t size = byte < 0x80   ? 1
                             : byte < 0xC2 ? 0
                             : byte < 0xE0 ? 2
                             : byte < 0xF0 ? 3
                             : byte < 0xF5 ? 4
                                           : 0;
    if (size == 0 || i + size > text.size()) return false;
    for (std::size_t k = 1; k < size; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80U) return false;
    }
    i += size;
  }
  return true;
}

// A model that says given pieces, one a token, after "A", others after "B" and so on; then it ends.
class Script {
 public:
  explicit Script(const std::vector<Pieces>& texts) {
    std::vector<std::string> vocabulary;
    std::map<std::int32_t, std::int32_t> next;
    Ids last_ids;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      auto last = static_cast<std::int32_t>('A' + i);
      for (const std::string& piece : texts[i]) {
        const auto id = static_cast<std::int32_t>(256 + vocabulary.size());
        vocabulary.push_back(piece);
        next[last] = id;
        last = id;
      }
      last_ids.push_back(last);
    }
    const auto end_id = static_cast<std::int32_t>(256 + vocabulary.size());
    for (const std::int32_t last : last_ids) next[last] = end_id;
    tokenizer = test::byte_tokenizer(vocabulary, {"<end>", "<unseen>"});
    model =
        test::scripted_model(end_id + 10, next, ", \"eos_token_id\": " + std::to_string(end_id));
  }

  std::optional<Tokenizer> tokenizer;
  std::shared_ptr<CausalLm> model;
};

// What a callback was given, prompt by prompt.
struct Heard {
  std::map<std::int64_t, std::vector<std::string>> pieces;

  TextCallback callback() {
    return [this](std::int64_t sequence, std::string_view text) {
      EXPECT_FALSE(text.empty());
      EXPECT_TRUE(is_valid_utf8(text)) << text;
      pieces[sequence].emplace_back(text);
      return true;
    };
  }
  std::string text(std::int64_t sequence) {
    std::string joined;
    for (const std::string& piece : pieces[sequence]) joined += piece;
    return joined;
  }
};

std::vector<Generation> run(const Script& script, const std::vector<std::string>& prompts,
                            const GenerateOptions& options, Heard& heard) {
  const auto results =
      generate(*script.model, *script.tokenizer, prompts, options, heard.callback());
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(heard.text(static_cast<std::int64_t>(i)), results[i].text);
    EXPECT_EQ(results[i].num_prompt_tokens, static_cast<std::int64_t>(prompts[i].size()));
  }
  return results;
}

TEST(GenerateText, StreamsEachTextAsItComes) {
  const Script script({{"one", " two", " three"}, {"x"}, {}});
  Heard heard;
  const auto results = run(script, {"A", "-B", "C"}, {}, heard);
  EXPECT_EQ(results[0].text, "one two three");
  EXPECT_EQ(heard.pieces[0], (Pieces{"one", " two", " three"}));
  EXPECT_EQ(results[0].ids, (Ids{256, 257, 258}));
  EXPECT_EQ(results[1].text, "x");
  EXPECT_EQ(results[2].text, "");
  EXPECT_TRUE(heard.pieces[2].empty());
  EXPECT_TRUE(results[2].ids.empty());
  for (const Generation& result : results) EXPECT_EQ(result.reason, FinishReason::kEndToken);
}

TEST(GenerateText, WithoutACallbackTheTextIsTheSame) {
  const Script script({Pieces{"one", " two"}});
  const std::vector<std::string> prompts{"A"};
  EXPECT_EQ(generate(*script.model, *script.tokenizer, prompts, {})[0].text, "one two");
  const Generation cut =
      generate(*script.model, *script.tokenizer, prompts, {.max_new_tokens = 1})[0];
  EXPECT_EQ(cut.text, "one");
  EXPECT_EQ(cut.reason, FinishReason::kLength);
}

TEST(GenerateText, OnePromptAlone) {
  const Script script({Pieces{"one", " two"}});
  Heard heard;
  GenerateStats stats;
  const Generation result =
      generate_one(*script.model, *script.tokenizer, "-A", {}, heard.callback(), &stats);
  EXPECT_EQ(result.text, "one two");
  EXPECT_EQ(heard.pieces[0], (Pieces{"one", " two"}));
  EXPECT_EQ(stats.num_prompt_tokens, 2);
  EXPECT_EQ(stats.num_generated_tokens, 3);
}

TEST(GenerateText, CharactersComeWhole) {
  // "é" in two tokens, "😀" in four, one of which ends another character.
  const Script script({{"caf", "\xC3", "\xA9", " \xF0", "\x9F", "\x98", "\x80!"}});
  Heard heard;
  EXPECT_EQ(run(script, {"A"}, {}, heard)[0].text, "café 😀!");
  for (std::int64_t most = 1; most <= 7; ++most) {
    Heard part;
    const Generation result = run(script, {"A"}, {.max_new_tokens = most}, part)[0];
    EXPECT_TRUE(is_valid_utf8(result.text)) << most;
    EXPECT_EQ(result.ids.size(), static_cast<std::size_t>(most));
  }
  Heard broken;  // what never became a character is U+FFFD, at the end
  EXPECT_EQ(run(script, {"A"}, {.max_new_tokens = 2}, broken)[0].text, "caf\xEF\xBF\xBD");
}

TEST(GenerateText, BytesThatFormNoCharacterAreReplaced) {
  const Script script({{"a", "\xFF", "b", "\xE2\x82", "c"}});
  Heard heard;
  const Generation result = run(script, {"A"}, {}, heard)[0];
  EXPECT_EQ(result.text, script.tokenizer->decode(result.ids));
  EXPECT_NE(result.text.find("\xEF\xBF\xBD"), std::string::npos);
}

TEST(GenerateText, StopStringsAcrossTokens) {
  const Script script({{"Hello", " Wor", "ld", "!\n", "\nUs", "er:", " no"}});
  struct Case {
    Pieces stop;
    std::string text;
    std::size_t num_ids;
  };
  const std::vector<Case> cases{{{"\n\nUser:"}, "Hello World!", 6},
                                {{"World"}, "Hello ", 3},
                                {{"o"}, "Hell", 1},
                                {{"Hello"}, "", 1},
                                {{"!", "ld!"}, "Hello Wor", 4},
                                {{"r:", "ser"}, "Hello World!\n\nU", 6},
                                {{"\n\nUs", "zz"}, "Hello World!", 5}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.stop[0]);
    Heard heard;
    const Generation result = run(script, {"A"}, {.stop = c.stop}, heard)[0];
    EXPECT_EQ(result.reason, FinishReason::kStop);
    EXPECT_EQ(result.text, c.text);
    EXPECT_EQ(result.ids.size(), c.num_ids);
  }
}

TEST(GenerateText, WhatOnlyBeganAStopStringIsDelivered) {
  const Script script({{"a", "<", "/", "s"}});
  Heard heard;
  const Generation result = run(script, {"A"}, {.stop = {"</s>"}}, heard)[0];
  EXPECT_EQ(result.reason, FinishReason::kEndToken);
  EXPECT_EQ(result.text, "a</s");
  EXPECT_EQ(heard.pieces[0], (Pieces{"a", "</s"}));
}

TEST(GenerateText, StopStringsInsideCharacters) {
  // "é" and "è" begin with the same byte, and come as two tokens each.
  const Script script({{"x", "\xC3", "\xA8", "y\xC3", "\xA9z"}});
  Heard heard;
  const Generation result = run(script, {"A"}, {.stop = {"é"}}, heard)[0];
  EXPECT_EQ(result.text, "xèy");
  EXPECT_EQ(result.reason, FinishReason::kStop);
  Heard whole;
  EXPECT_EQ(run(script, {"A"}, {.stop = {"éx"}}, whole)[0].text, "xèyéz");
  // The replacement of a broken character at the very end may complete a stop string too.
  Heard end;
  const Generation broken =
      run(script, {"A"}, {.max_new_tokens = 2, .stop = {"x\xEF\xBF\xBD"}}, end)[0];
  EXPECT_EQ(broken.text, "");
  EXPECT_EQ(broken.reason, FinishReason::kStop);
}

TEST(GenerateText, SpecialTokensAreNotText) {
  const Script script({Pieces{"a", "b"}});
  const std::int32_t end = *script.tokenizer->token_to_id("<end>");
  Heard heard;
  const Generation result = run(script, {"A"}, {.max_new_tokens = 5, .ignore_eos = true}, heard)[0];
  EXPECT_EQ(result.ids, (Ids{256, 257, end, end, end}));
  EXPECT_EQ(result.text, "ab");
  EXPECT_EQ(result.reason, FinishReason::kLength);
}

TEST(GenerateText, IdsThatTheTokenizerLacksHaveNoText) {
  // The model has ten more tokens than the tokenizer, and goes from "b" into them and back.
  const Tokenizer tokenizer = test::byte_tokenizer({}, {});
  const auto model =
      test::scripted_model(260, {{'a', 'b'}, {'b', 257}, {257, 258}, {258, 'c'}, {'c', 'd'}});
  const std::vector<std::string> prompts{"a"};
  const Generation result = generate(*model, tokenizer, prompts, {.max_new_tokens = 5})[0];
  EXPECT_EQ(result.ids, (Ids{'b', 257, 258, 'c', 'd'}));
  EXPECT_EQ(result.text, "bcd");
}

TEST(GenerateText, ACallbackEndsItsSequenceOnly) {
  const Script script({{"a", "b", "c", "d"}, {"e", "f", "g"}, {"h", "i", "j", "k", "l"}});
  std::map<std::int64_t, std::string> heard;
  const auto callback = [&](std::int64_t sequence, std::string_view text) {
    heard[sequence] += text;
    return !(sequence == 0 && text == "b") && !(sequence == 2 && text == "h");
  };
  const std::vector<std::string> prompts{"A", "B", "C"};
  for (const std::int64_t batch_size : {1, 2, 3}) {
    heard.clear();
    const auto results =
        generate(*script.model, *script.tokenizer, prompts, {.batch_size = batch_size}, callback);
    EXPECT_EQ(heard, (std::map<std::int64_t, std::string>{{0, "ab"}, {1, "efg"}, {2, "h"}}));
    EXPECT_EQ(results[0].text, "ab");
    EXPECT_EQ(results[0].reason, FinishReason::kCancelled);
    EXPECT_EQ(results[1].text, "efg");
    EXPECT_EQ(results[1].reason, FinishReason::kEndToken);
    EXPECT_EQ(results[2].ids.size(), 1U);
    EXPECT_EQ(results[2].reason, FinishReason::kCancelled);
  }
}

TEST(GenerateText, WhatACallbackThrowsComesOut) {
  const Script script({Pieces{"a", "b"}});
  const std::vector<std::string> prompts{"A"};
  const auto callback = [](std::int64_t, std::string_view) -> bool {
    throw std::runtime_error("the pipe is closed");
  };
  EXPECT_THROW(generate(*script.model, *script.tokenizer, prompts, {}, callback),
               std::runtime_error);
}

TEST(GenerateText, MixedEndsInOneBatch) {
  const Script script({{"a", "b", "c"}, {"d", "STO", "P"}, {"e"}, {"g", "h", "i", "j"}});
  const std::int32_t h = 256 + 8;
  Heard heard;
  const auto results = run(script, {"A", "++B", "+C", "D"},
                           {.max_new_tokens = 3, .stop = {"STOP"}, .stop_tokens = {h}}, heard);
  EXPECT_EQ(results[0].text, "abc");
  EXPECT_EQ(results[0].reason, FinishReason::kLength);
  EXPECT_EQ(results[1].text, "d");
  EXPECT_EQ(results[1].reason, FinishReason::kStop);
  EXPECT_EQ(results[2].text, "e");
  EXPECT_EQ(results[2].reason, FinishReason::kEndToken);
  EXPECT_EQ(results[3].text, "g");
  EXPECT_EQ(results[3].ids.size(), 1U);
  EXPECT_EQ(results[3].reason, FinishReason::kStop);
}

TEST(GenerateText, RandomTextIsValidWhateverTheBatch) {
  // A model with random weights writes bytes that are seldom characters.
  const auto model = CausalLm::load(test::fixture_model("qwen2-tied"));
  Pieces pieces{"\xE2\x82", "\xF0\x9F\x98"};
  while (256 + pieces.size() < 320) pieces.push_back("t" + std::to_string(pieces.size()));
  const Tokenizer tokenizer = test::byte_tokenizer(pieces, {});
  const std::vector<std::string> prompts{"one", "a much longer prompt, ö", "x", "12345"};
  GenerateOptions options{.max_new_tokens = 60,
                          .sampling = {.temperature = 1.5, .seed = 3},
                          .stop = {"q",
                                   "\xEF\xBF\xBD"
                                   "a",
                                   "zz"}};
  std::optional<std::vector<std::string>> expected;
  for (const std::int64_t batch_size : {1, 3, 4}) {
    options.batch_size = batch_size;
    Heard heard;
    const auto results = generate(*model, tokenizer, prompts, options, heard.callback());
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(heard.text(static_cast<std::int64_t>(i)), results[i].text);
      EXPECT_FALSE(results[i].text.empty());
      for (const std::string& stop : options.stop) {
        EXPECT_EQ(results[i].text.find(stop), std::string::npos);
      }
      if (results[i].reason != FinishReason::kStop) {
        EXPECT_EQ(results[i].text, tokenizer.decode(results[i].ids));
      }
      texts.push_back(results[i].text);
    }
    if (!expected) expected = texts;
    EXPECT_EQ(texts, *expected);
  }
}

TEST(GenerateText, FinishReasonsHaveNames) {
  EXPECT_EQ(to_string(FinishReason::kLength), "length");
  EXPECT_EQ(to_string(FinishReason::kEndToken), "eos");
  EXPECT_EQ(to_string(FinishReason::kStop), "stop");
  EXPECT_EQ(to_string(FinishReason::kCancelled), "cancelled");
}

TEST(GenerateText, RefusesPromptsAndStopStrings) {
  const Script script({{"a"}});
  const auto run_with = [&](const std::vector<std::string>& prompts, const Pieces& stop) {
    return [&script, prompts, stop] {
      generate(*script.model, *script.tokenizer, prompts, {.stop = stop});
    };
  };
  expect_error(ErrorKind::kArgument, {"prompt 1 is empty: it needs at least one token"},
               run_with({"A", ""}, {}));
  expect_error(ErrorKind::kArgument, {"stop string 1 is empty"}, run_with({"A"}, {"x", ""}));
  expect_error(ErrorKind::kArgument, {"stop string 0 begins inside a UTF-8 character"},
               run_with({"A"}, {"\xA9"}));
  expect_error(ErrorKind::kArgument, {"UTF-8"}, run_with({"A\xFF"}, {}));
}

}  // namespace

}  // namespace wick

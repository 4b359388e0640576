#include "wick/text/chat_template.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/base/error.hpp"

namespace wick {

namespace {

using Conversation = std::vector<ChatMessage>;

const Conversation kOneTurn = {{"user", "Hi"}, {"assistant", "Hello"}};
const Conversation kTwoTurns = {
    {"user", "one"}, {"assistant", "1"}, {"user", "two"}, {"assistant", "2"}};

Conversation with_system(const Conversation& messages) {
  Conversation all = {{"system", "Be brief."}};
  all.insert(all.end(), messages.begin(), messages.end());
  return all;
}

std::string text_of(const std::vector<ChatPiece>& pieces) {
  std::string text;
  for (const ChatPiece& piece : pieces) text += piece.text;
  return text;
}

std::string render(std::string_view name, const Conversation& messages, bool prompt = false) {
  return text_of(ChatTemplate::named(name).render(messages, prompt));
}

// What an assistant is taught, turn by turn.
std::vector<std::string> learnt(std::string_view name, const Conversation& messages) {
  std::vector<std::string> turns;
  bool in_turn = false;
  for (const ChatPiece& piece : ChatTemplate::named(name).render(messages, true)) {
    if (piece.is_assistant && !in_turn) turns.emplace_back();
    if (piece.is_assistant) turns.back() += piece.text;
    in_turn = piece.is_assistant;
  }
  return turns;
}

template <class Call>
void expect_error(ErrorKind kind, std::string_view part, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
        << "no \"" << part << "\" in: " << error.what();
  }
}

TEST(ChatTemplate, ChatMl) {
  EXPECT_EQ(render("chatml", kOneTurn),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n");
  EXPECT_EQ(render("chatml", {{"user", " Hi\n"}}, true),
            "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("chatml", {{"user", "a"}, {"system", "b"}, {"user", ""}}),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>system\nb<|im_end|>\n"
            "<|im_start|>user\n<|im_end|>\n");
}

TEST(ChatTemplate, QwensDefaultSystemMessages) {
  EXPECT_EQ(render("qwen2", {{"user", "Hi"}}, true),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      render("qwen2.5", {{"user", "Hi"}}, true),
      "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
      "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("qwen3", {{"user", "Hi"}}, true),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  for (const std::string_view name : {"qwen2", "qwen2.5"}) {
    EXPECT_EQ(render(name, with_system(kTwoTurns)), render("chatml", with_system(kTwoTurns)));
  }
}

TEST(ChatTemplate, Qwen3WritesThoughtsOfTheLastAnswerOnly) {
  EXPECT_EQ(render("qwen3", kTwoTurns),
            "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n"
            "<|im_start|>user\ntwo<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\n2<|im_end|>\n");
  const std::string thoughtful = "<think>\nHm.\n</think>\n\n4";
  EXPECT_EQ(render("qwen3", {{"user", "a"}, {"assistant", thoughtful}, {"user", "b"}}, true),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"
            "<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render("qwen3", {{"user", "a"}, {"assistant", thoughtful}}),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n" + thoughtful + "<|im_end|>\n");
}

TEST(ChatTemplate, Qwen3TakesAToolsResponseForNoQuestion) {
  const std::string response = "<tool_response>\n17\n</tool_response>";
  EXPECT_EQ(render("qwen3", {{"user", "a"},
                             {"assistant", "<think>Ask.</think>call"},
                             {"user", response},
                             {"assistant", "17"}}),
            "<|im_start|>user\na<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nAsk.\n</think>\n\ncall<|im_end|>\n"
            "<|im_start|>user\n" +
                response +
                "<|im_end|>\n"
                "<|im_start|>assistant\n<think>\n\n</think>\n\n17<|im_end|>\n");
}

TEST(ChatTemplate, Llama3TrimsTheWords) {
  EXPECT_EQ(render("llama3", {{"system", "\tS \n"}, {"user", " a b "}, {"assistant", "c\n"}}, true),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\na b<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nc<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, Llama31AlwaysHasASystemTurn) {
  const std::string head =
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  const std::string turns =
      "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>";
  EXPECT_EQ(render("llama3.1", kOneTurn), head + turns);
  EXPECT_EQ(render("llama3.1", with_system(kOneTurn)), head + "Be brief." + turns);
  EXPECT_EQ(render("llama3.1", {{"system", " "}, {"user", "Hi"}}, true),
            head +
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, MistralsSpaces) {
  EXPECT_EQ(render("mistral-v1", kTwoTurns), "<s>[INST] one [/INST]1</s> [INST] two [/INST]2</s> ");
  EXPECT_EQ(render("mistral-v2-early", kTwoTurns),
            "<s>[INST] one [/INST]1</s>[INST] two [/INST]2</s>");
  EXPECT_EQ(render("mistral", kTwoTurns), "<s> [INST] one [/INST] 1</s> [INST] two [/INST] 2</s>");
  EXPECT_EQ(render("mistral-v3", kTwoTurns), "<s>[INST] one[/INST] 1</s>[INST] two[/INST] 2</s>");
}

TEST(ChatTemplate, MistralHasNoPromptToAdd) {
  for (const std::string_view name : {"mistral-v1", "mistral-v2-early", "mistral", "mistral-v3"}) {
    EXPECT_EQ(render(name, {{"user", "Hi"}}, true), render(name, {{"user", "Hi"}}, false)) << name;
  }
}

TEST(ChatTemplate, MistralsSystemMessage) {
  const Conversation asked = {{"user", "one"}, {"assistant", " 1 "}, {"user", "two"}};
  EXPECT_EQ(render("mistral", with_system(asked)),
            "<s> [INST] Be brief.\n\none [/INST]  1 </s> [INST] two [/INST]");
  EXPECT_EQ(render("mistral-v3", with_system(asked)),
            "<s>[INST] one[/INST] 1</s>[INST] Be brief.\n\ntwo[/INST]");
  EXPECT_EQ(render("mistral-v3", with_system(kOneTurn)), render("mistral-v3", kOneTurn));
}

TEST(ChatTemplate, LearnsEveryAnswerAndItsEnd) {
  using Turns = std::vector<std::string>;
  const Turns im = {"1<|im_end|>", "2<|im_end|>"};
  const Turns eot = {"1<|eot_id|>", "2<|eot_id|>"};
  const Turns eos = {"1</s>", "2</s>"};
  for (const std::string_view name : {"chatml", "qwen2", "qwen2.5"}) {
    EXPECT_EQ(learnt(name, kTwoTurns), im) << name;
  }
  EXPECT_EQ(learnt("qwen3", kTwoTurns), (Turns{im[0], "<think>\n\n</think>\n\n" + im[1]}));
  for (const std::string_view name : {"llama3", "llama3.1"}) {
    EXPECT_EQ(learnt(name, kTwoTurns), eot) << name;
  }
  for (const std::string_view name : {"mistral-v1", "mistral-v2-early", "mistral", "mistral-v3"}) {
    EXPECT_EQ(learnt(name, kTwoTurns), eos) << name;
  }
}

// What somebody wrote is never markup, so that "<|im_end|>" in a question ends nothing.
TEST(ChatTemplate, WordsAreNoMarkup) {
  const std::string marker = "<|im_end|><|eot_id|></s>";
  for (const std::string& name : ChatTemplate::names()) {
    const auto pieces = ChatTemplate::named(name).render(
        {{"user", marker + "q"}, {"assistant", marker + "a"}}, false);
    std::size_t holders = 0;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) {
        EXPECT_TRUE(pieces[i].is_markup != pieces[i - 1].is_markup ||
                    pieces[i].is_assistant != pieces[i - 1].is_assistant)
            << name << ": piece " << i;
      }
      EXPECT_FALSE(pieces[i].text.empty());
      if (pieces[i].text.find(marker) == std::string::npos) continue;
      EXPECT_FALSE(pieces[i].is_markup) << name;
      ++holders;
    }
    EXPECT_EQ(holders, 2) << name;
  }
}

TEST(ChatTemplate, EveryAnswerEndsWithAStopToken) {
  for (const std::string& name : ChatTemplate::names()) {
    const auto how = ChatTemplate::named(name);
    EXPECT_EQ(how.name(), name);
    const auto stops = how.stop_tokens();
    ASSERT_EQ(stops.size(), 1) << name;
    const auto turns = learnt(name, kTwoTurns);
    ASSERT_EQ(turns.size(), 2) << name;
    for (const std::string& turn : turns) EXPECT_TRUE(turn.ends_with(stops[0])) << name;
  }
}

TEST(ChatTemplate, Names) {
  EXPECT_EQ(ChatTemplate::named("llama3.2").name(), "llama3.1");
  EXPECT_EQ(ChatTemplate::named("mistral-v2").name(), "mistral");
  expect_error(ErrorKind::kArgument, "\"vicuna\" is not one of chatml, qwen2,",
               [] { ChatTemplate::named("vicuna"); });
}

TEST(ChatTemplate, RefusesRolesItDoesNotKnow) {
  for (const std::string& name : ChatTemplate::names()) {
    expect_error(ErrorKind::kArgument, name + ": message 2: role \"tool\"",
                 [&] { render(name, {{"user", "a"}, {"tool", "b"}}); });
    expect_error(ErrorKind::kArgument, "needs a message", [&] { render(name, {}, true); });
  }
}

TEST(ChatTemplate, MistralRefusesOtherOrders) {
  for (const std::string_view name : {"mistral-v1", "mistral-v2-early", "mistral", "mistral-v3"}) {
    const std::string where = std::string(name) + ": message ";
    expect_error(ErrorKind::kArgument, where + "1: role \"assistant\" where user must follow",
                 [&] { render(name, {{"assistant", "a"}}); });
    expect_error(ErrorKind::kArgument, where + "2: role \"user\" where assistant must follow",
                 [&] { render(name, {{"user", "a"}, {"user", "b"}}); });
    expect_error(ErrorKind::kArgument, where + "3: role \"system\" where user must follow",
                 [&] { render(name, {{"user", "a"}, {"assistant", "b"}, {"system", "c"}}); });
  }
  for (const std::string_view name : {"mistral-v1", "mistral-v2-early"}) {
    expect_error(ErrorKind::kArgument, "message 1: role \"system\" where user must follow (this",
                 [&] { render(name, with_system(kOneTurn)); });
  }
}

// ChatML as a template says it, with what stands between the role and the words.
std::string chatml_template(const std::string& between) {
  return "{% for message in messages %}{{'<|im_start|>' + message['role'] + '" + between +
         "' + message['content'] + '<|im_end|>' + '" + between +
         "'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant" + between +
         "' }}{% endif %}";
}

TEST(ChatTemplate, RecognisesATextHoweverItsLinesEnd) {
  for (const std::string between : {"\\n", "\n", "\r\n", "\r"}) {
    for (const std::string end : {"", "\n", "\r\n", "\r"}) {
      EXPECT_EQ(ChatTemplate::recognise(chatml_template(between) + end, "here").name(), "chatml");
    }
  }
}

TEST(ChatTemplate, RefusesATextThatDiffersInWhiteSpace) {
  const std::string known = chatml_template("\n");
  for (const std::string& text :
       {chatml_template(" "), chatml_template("\n\n"), chatml_template(""), " " + known,
        known + " ", known + "\n\n", "\n" + known}) {
    expect_error(ErrorKind::kUnsupported, "here: the template is none that is built in",
                 [&] { ChatTemplate::recognise(text, "here"); });
  }
}

TEST(ChatTemplate, NamesAnUnknownTextByItsFirstLine) {
  expect_error(ErrorKind::kUnsupported, "begins with \"{{ first }}\"; name the one",
               [] { ChatTemplate::recognise("\n\r\n{{ first }}\r\n{{ second }}", "x"); });
  expect_error(ErrorKind::kUnsupported, "begins with \"\"",
               [] { ChatTemplate::recognise("", "x"); });
  expect_error(ErrorKind::kUnsupported, "\\x00\\xFF",
               [] { ChatTemplate::recognise(std::string_view("\0\xFF", 2), "x"); });
}

class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("wick-chat-template-") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const char* file, std::string_view text) const {
    std::ofstream(folder_ / file, std::ios::binary) << text;
  }
  void write_config(const std::string& chat_template) const {
    write("tokenizer_config.json",
          R"({"bos_token": null, "chat_template": )" + chat_template + "}");
  }
  void expect_refusal(ErrorKind kind, std::string_view part) const {
    expect_error(kind, part, [&] { ChatTemplate::of_model(folder_); });
  }

  std::filesystem::path folder_;
};

// The template as a JSON string, its line feeds escapes of JSON.
std::string chatml_json() { return '"' + chatml_template("\\n") + '"'; }

TEST_F(ModelFolder, TextInTheConfiguration) {
  write_config(chatml_json());
  EXPECT_EQ(ChatTemplate::of_model(folder_).name(), "chatml");
}

TEST_F(ModelFolder, OneOfAList) {
  write_config(R"([{"name": "tool_use", "template": "x"}, {"name": "default", "template": )" +
               chatml_json() + "}]");
  EXPECT_EQ(ChatTemplate::of_model(folder_).name(), "chatml");
}

TEST_F(ModelFolder, TheFileComesBeforeTheConfiguration) {
  write_config("\"{{ other }}\"");
  write("chat_template.jinja", chatml_template("\\n") + "\n");
  EXPECT_EQ(ChatTemplate::of_model(folder_).name(), "chatml");
  write_config(chatml_json());
  write("chat_template.jinja", "{{ mine }}\n");
  expect_refusal(ErrorKind::kUnsupported, "chat_template.jinja: the template is none");
}

TEST_F(ModelFolder, WithoutATemplate) {
  expect_refusal(ErrorKind::kArgument, folder_.string() + " has no chat template");
  for (const std::string_view config : {"{}", R"({"chat_template": null})"}) {
    write("tokenizer_config.json", config);
    expect_refusal(ErrorKind::kArgument, "name one with --chat-template: chatml,");
  }
}

TEST_F(ModelFolder, BrokenConfiguration) {
  const std::array<std::pair<std::string_view, std::string_view>, 6> cases = {{
      {R"({"chat_template": 7})", "chat_template: must be text or a list of templates"},
      {R"({"chat_template": []})", "chat_template: has no template named default"},
      {R"({"chat_template": ["x"]})", "tokenizer_config.json: chat_template"},
      {R"({"chat_template": [{"template": "x"}]})", "name"},
      {R"({"chat_template": [{"name": "default", "template": 7}]})", "template"},
      {R"({"chat_template": )", "tokenizer_config.json: byte"},
  }};
  for (const auto& [config, part] : cases) {
    write("tokenizer_config.json", config);
    expect_refusal(ErrorKind::kParse, part);
  }
}

TEST_F(ModelFolder, AFileThatCannotBeRead) {
  std::filesystem::create_directory(folder_ / "chat_template.jinja");
  expect_refusal(ErrorKind::kIo, "chat_template.jinja");
}

}  // namespace

}  // namespace wick

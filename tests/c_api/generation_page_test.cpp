// The snippets of docs/generation.md, compiled and run; tools/check_readme.py compares them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "c_api/c_program.h"
#include "generate/support.hpp"
#include "harness/temp_folder.hpp"
#include "wick/wick.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

// DIR, as the page calls it: a model that answers "Hi" after a line's end, and to "Once upon a time".
class GenerationPage : public ::testing::Test {
 protected:
  void SetUp() override {
    constexpr std::int32_t kImEnd = 257;
    fs::create_directory(folder_ / "DIR");
    scripted_model(258, {{'\n', 'H'}, {'e', 'H'}, {'H', 'i'}, {'i', kImEnd}},
                   R"(, "eos_token_id": 257)")
        ->write_files(folder_ / "DIR");
    folder_.write("DIR/tokenizer.json", byte_tokenizer_json({}, {"<|im_start|>", "<|im_end|>"}));
    folder_.write("DIR/tokenizer_config.json", kTokenizerConfig);
    fs::current_path(folder_.path());
    ::testing::internal::CaptureStdout();
  }
  void TearDown() override { fs::current_path(before_); }

  static std::string printed() { return ::testing::internal::GetCapturedStdout(); }

 private:
  static constexpr const char* kTokenizerConfig =
      R"({"chat_template": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + )"
      R"(message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %})"
      R"({{ '<|im_start|>assistant\n' }}{% endif %}"})";
  TempFolder folder_;
  fs::path before_ = fs::current_path();
};

TEST_F(GenerationPage, APrompt) {
  const auto model = wick::CausalLm::load("DIR");
  const auto tokenizer = wick::Tokenizer::from_file("DIR");
  const wick::Generation result =
      wick::generate_one(*model, tokenizer, "Once upon a time",
                         {.max_new_tokens = 64, .sampling = {.temperature = 0.8}});
  std::cout << result.text << " (" << to_string(result.reason) << ")\n";
  EXPECT_EQ(printed(), "Hi (eos)\n");
}

struct Window {
  std::string text;
  void append(std::string_view more) { text += more; }
  bool is_closed() const { return text == "H"; }
};

TEST_F(GenerationPage, Streaming) {
  const auto model = wick::CausalLm::load("DIR");
  const auto tokenizer = wick::Tokenizer::from_file("DIR");
  const std::vector<std::string> prompts{"a time", "a dime"};
  const wick::GenerateOptions options;
  std::vector<Window> all(2);
  struct {
    std::vector<Window>& all;
    Window& operator[](std::int64_t i) const { return all[static_cast<std::size_t>(i)]; }
  } windows{all};
  wick::generate(*model, tokenizer, prompts, options,
                 [&](std::int64_t sequence, std::string_view text) {
                   windows[sequence].append(text);
                   return !windows[sequence].is_closed();
                 });
  EXPECT_EQ(all[0].text, "H");
  EXPECT_EQ(all[1].text, "H");
  EXPECT_EQ(printed(), "");
}

TEST_F(GenerationPage, AConversation) {
  const std::shared_ptr<const wick::CausalLm> model = wick::CausalLm::load("DIR");
  const auto tokenizer = wick::Tokenizer::from_file("DIR");
  wick::ChatSession session(model, tokenizer, wick::ChatTemplate::of_model("DIR"),
                            {.system_prompt = "Be brief.", .drop_oldest_turns = true});
  std::cout << session.reply("What is a wick?") << '\n' << session.reply("And a candle?") << '\n';
  EXPECT_EQ(printed(), "Hi\nHi\n");
}

TEST_F(GenerationPage, FromC) {
  c_of_the_generation_page();
  EXPECT_EQ(printed(), "Hi");
}

}  // namespace

}  // namespace wick::test

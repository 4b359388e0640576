// Wick in a program of your own: loads a checkpoint, trains an adapter on a few texts, and generates before and after.
//
//   embed <checkpoint folder>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "wick/wick.hpp"

namespace {

const std::vector<std::string> kTexts{
    "optimist (noun): One who has lent you a book and waits.",
    "pessimist (noun): One who has lent you a book before.",
    "library (noun): A house where the books wait for their readers.",
};
const std::string kPrompt = "optimist (noun):";

// Shows the model's text while it is made.
void generate(const wick::CausalLm& model, const wick::Tokenizer& tokenizer) {
  const auto show = [](std::int64_t, std::string_view text) {
    std::cout << text << std::flush;
    return true;  // false would end it
  };
  std::cout << kPrompt;
  wick::generate_one(model, tokenizer, kPrompt, {.max_new_tokens = 24}, show);
  std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: embed <checkpoint folder>\n";
    return 2;
  }
  const auto model = wick::CausalLm::load(argv[1]);
  const auto tokenizer = wick::Tokenizer::from_file(argv[1]);
  generate(*model, tokenizer);

  wick::LoraConfig lora;
  lora.lora_alpha = 16;
  lora.target_modules.all_linear = true;
  const auto adapter = model->create_adapter("wit", lora, 1);
  model->set_active_adapters({{"wit"}});

  wick::Trainer trainer(model, adapter, wick::Dataset::from_texts(kTexts, tokenizer, {}), {},
                        {.max_steps = 10, .learning_rate = 1e-2});
  trainer.run({.on_step = [](const wick::StepReport& step) {
    std::cout << "step " << step.step << "  loss " << step.loss << '\n';
  }});

  generate(*model, tokenizer);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}

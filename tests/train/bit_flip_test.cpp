// Files in which one bit has flipped, on a bad disk or on the way: each loads all the same, or is refused by an Error that
// names it. Nothing crashes, hangs, or asks for memory that nobody has.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "harness/bit_flips.hpp"
#include "train/run_support.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/models/text_encoder.hpp"
#include "wick/text/chat_template.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

fs::path fixtures() { return WICK_TEST_FIXTURES; }

void copy_files(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    if (!entry.is_regular_file() || entry.path().filename() == "expected.safetensors") continue;
    fs::copy_file(entry.path(), to / entry.path().filename());
  }
}

// What a damaged file still says may not fit together: using it may be refused as well.
void use(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(error.kind(), ErrorKind::kInternal) << error.what();
  }
}

void load_and_run(const fs::path& folder) {
  const auto model = CausalLm::load(folder);
  use([&] {
    const NoGradGuard no_gradient;
    const std::vector<std::int32_t> ids{1, 2, 3, 4};
    model->logits(model->hidden(Tensor::from_values(ids, {1, 4})));
  });
}

TEST(BitFlips, OfAModelsDescription) {
  for (const char* name : {"llama-sharded-bf16", "llama3-rope-scaled", "mistral-sliding",
                           "qwen2-tied", "qwen3-qknorm"}) {
    const TempFolder folder;
    copy_files(fixtures() / "models" / name, folder.path());
    const auto load = [&] { load_and_run(folder.path()); };
    // A description that is valid, and another one, does not fit the weights of the folder.
    const FlipOutcome config = load_with_bit_flips(
        folder / "config.json", 2000,
        {"config.json", "model.safetensors", "model-0000", folder.path().string() + ": tensor "},
        load);
    EXPECT_GT(config.refused, 100) << name;
    EXPECT_GT(config.loaded, 0) << name;
    const FlipOutcome generation =
        load_with_bit_flips(folder / "generation_config.json", 2000, {"generation_config"}, load);
    EXPECT_GT(generation.refused, 50) << name;
  }
}

TEST(BitFlips, OfAModelsWeights) {
  const TempFolder folder;
  copy_files(fixtures() / "models" / "llama-sharded-bf16", folder.path());
  const auto load = [&] { load_and_run(folder.path()); };
  const FlipOutcome index =
      load_with_bit_flips(folder / "model.safetensors.index.json", 3000,
                          {"model.safetensors.index.json", "model-0000"}, load);
  EXPECT_GT(index.refused, 1000);
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string name = entry.path().filename().string();
    load_with_bit_flips(entry.path(), 500, {name}, load);
  }
}

TEST(BitFlips, OfAnEncoder) {
  const TempFolder folder;
  copy_files(fixtures() / "models" / "bert-mean", folder.path());
  const auto load = [&] { TextEncoder::load(folder.path()); };
  const FlipOutcome config =
      load_with_bit_flips(folder / "config.json", 1000, {"config.json", "model.safetensors"}, load);
  EXPECT_GT(config.refused, 100);
}

TEST(BitFlips, OfAnAdapter) {
  const fs::path model_folder = fixtures() / "models" / "qwen2-tied";
  const auto model = CausalLm::load(model_folder);
  for (const char* name : {"lora", "dora"}) {
    const TempFolder folder;
    copy_files(model_folder / "adapters" / name, folder.path());
    const auto load = [&] { LoraAdapter::load(folder.path(), model->lora_host()); };
    // A configuration that is valid and another one asks for other tensors.
    const FlipOutcome config =
        load_with_bit_flips(folder / "adapter_config.json", 4000,
                            {"adapter_config.json", "adapter_model.safetensors"}, load);
    EXPECT_GT(config.refused, 100) << name;
    EXPECT_GT(config.loaded, 0) << name;
    load_with_bit_flips(folder / "adapter_model.safetensors", 1500, {"adapter_model.safetensors"},
                        load);
  }
}

TEST(BitFlips, OfATokenizer) {
  for (const char* name : {"bert-wordpiece", "gpt2", "llama2-sp", "llama3", "qwen2", "unigram"}) {
    const TempFolder folder;
    copy_files(fixtures() / "tokenizers" / name, folder.path());
    const FlipOutcome outcome =
        load_with_bit_flips(folder / "tokenizer.json", 400, {"tokenizer.json"}, [&] {
          const Tokenizer tokenizer = Tokenizer::from_file(folder.path());
          use([&] {
            tokenizer.decode(tokenizer.encode(" A wick, 12 of them: ünïcode 火<|im_end|>\n"));
          });
        });
    EXPECT_GT(outcome.refused, 10) << name;
    EXPECT_GT(outcome.loaded, 0) << name;
  }
}

TEST(BitFlips, OfAChatTemplate) {
  const TempFolder folder;
  folder.write(
      "tokenizer_config.json",
      R"({"eos_token": "</s>", "chat_template": [
      {"name": "default", "template": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + )"
      R"(message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %})"
      R"({{ '<|im_start|>assistant\n' }}{% endif %}"}]})");
  const FlipOutcome outcome =
      load_with_bit_flips(folder / "tokenizer_config.json", 4000, {"tokenizer_config.json"},
                          [&] { ChatTemplate::of_model(folder.path()); });
  EXPECT_GT(outcome.refused, 1000);
}

TEST(BitFlips, OfACheckpoint) {
  const TempFolder folder;
  TrainerOptions options{.output_dir = folder / "out", .max_steps = 2, .learning_rate = 1e-2};
  options.batches = {.batch_size = 4, .max_seq_length = 32};
  const auto trainer = [&] {
    const TinyRun run = tiny_lora();
    return std::make_unique<Trainer>(run.model, run.adapter, tiny_dataset(8), Dataset(), options);
  };
  trainer()->run();
  const fs::path checkpoint = folder / "out" / "checkpoint-2";
  const auto resumed = trainer();
  const auto load = [&] { resumed->resume(checkpoint); };
  const FlipOutcome state =
      load_with_bit_flips(checkpoint / "trainer_state.json", 4000, {"trainer_state.json"}, load);
  EXPECT_GT(state.refused, 500);
  for (const std::string name :
       {"optimizer.safetensors", "adapter_model.safetensors", "adapter_config.json"}) {
    const FlipOutcome outcome = load_with_bit_flips(checkpoint / name, 1000, {name}, load);
    EXPECT_EQ(outcome.loaded, 0) << name;  // every file has its digest
    EXPECT_GE(outcome.refused, 1000) << name;
  }
}

TEST(BitFlips, OfData) {
  const TempFolder folder;
  const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  const DatasetOptions options{
      .max_seq_length = 16, .chat_template = ChatTemplate::named("chatml"), .eos_token_id = 0};
  for (
      const char* line :
      {R"({"text": "A wick burns: \u00e9 \n"})", R"({"prompt": "What?", "completion": "A wick."})",
       R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]})"}) {
    const fs::path path = folder.write("data.jsonl", std::string(line) + "\n" + line + "\n" + line);
    const FlipOutcome outcome = load_with_bit_flips(
        path, 4000, {"data.jsonl:1", "data.jsonl:2", "data.jsonl:3", "data.jsonl:4"},
        [&] { Dataset::from_file(path, tokenizer, options); });
    EXPECT_GT(outcome.refused, 100) << line;
    EXPECT_GT(outcome.loaded, 100) << line;
  }
}

}  // namespace

}  // namespace wick::test

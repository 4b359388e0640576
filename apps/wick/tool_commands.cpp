// Commands that need no model: tokenize, devices, selftest; and bench, which makes its own.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <map>

#include "base/json.hpp"
#include "command.hpp"
#include "selftest.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct TokenizeFlags {
  std::filesystem::path tokenizer;
  std::vector<std::string> texts;
  std::vector<std::int32_t> ids;
  bool no_special = false;
  bool count = false;
  bool json = false;
};

std::string standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

int run_tokenize(const TokenizeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::from_file(flags.tokenizer);
  if (!flags.ids.empty()) {
    fmt::print("{}\n", tokenizer.decode(flags.ids, flags.no_special));
    return kSuccess;
  }
  const std::vector<std::string> texts =
      flags.texts.empty() ? std::vector<std::string>{standard_input()} : flags.texts;
  for (const std::string& text : texts) {
    const auto ids = tokenizer.encode(text, {.add_special_tokens = !flags.no_special});
    if (flags.count) {
      fmt::print("{}\n", ids.size());
      continue;
    }
    std::vector<std::string> tokens;
    for (const std::int32_t id : ids) tokens.push_back(tokenizer.id_to_token(id).value_or(""));
    if (flags.json) {
      fmt::print("{}\n", Json{{"text", text}, {"ids", ids}, {"tokens", tokens}}.dump());
      continue;
    }
    for (std::size_t i = 0; i < ids.size(); ++i) fmt::print("{:>8}  {}\n", ids[i], tokens[i]);
  }
  return kSuccess;
}

int run_devices(bool json) {
  Json list = Json::array();
  for (const Device device : devices()) {
    if (device.type == DeviceType::kNull) continue;
    list.push_back({{"device", to_string(device)},
                    {"threads", num_threads()},
                    {"instruction_sets", kernel_variants(device, "isa")},
                    {"products", kernel_variants(device, "matmul")}});
  }
  if (json) {
    fmt::print("{}\n", list.dump(2));
    return kSuccess;
  }
  for (const Json& device : list) {
    fmt::print("{}: {} threads; instruction sets {}; products by {}\n",
               device["device"].get<std::string>(), device["threads"].get<int>(),
               fmt::join(device["instruction_sets"].get<std::vector<std::string>>(), ", "),
               fmt::join(device["products"].get<std::vector<std::string>>(), ", "));
  }
  for (const char* absent : {"cuda", "mps"}) {
    fmt::print("{}: this build has no such backend\n", absent);
  }
  return kSuccess;
}

struct BenchFlags {
  ModelFlags model;
  std::int64_t batch_size = 4;
  std::int64_t length = 256;
  std::int64_t steps = 5;
  std::int64_t new_tokens = 64;
  bool json = false;
};

MicroBatch random_batch(const CausalLm& model, std::int64_t rows, std::int64_t length) {
  MicroBatch batch{.batch_size = rows, .length = length, .num_targets = rows * (length - 1)};
  batch.num_tokens = rows * length;
  std::uint64_t state = 1;
  for (std::int64_t i = 0; i < batch.num_tokens; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto id = static_cast<std::int32_t>(
        (state >> 33) % static_cast<std::uint64_t>(model.config().vocab_size));
    const std::int64_t position = i % length;
    batch.ids.push_back(id);
    if (position > 0) batch.targets.push_back(id);
    if (position + 1 == length) batch.targets.push_back(-100);
    batch.positions.push_back(static_cast<std::int32_t>(position));
    batch.segments.push_back(0);
  }
  return batch;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int run_bench(const BenchFlags& flags) {
  if (std::min({flags.batch_size, flags.length - 1, flags.steps, flags.new_tokens}) < 1) {
    throw Error(ErrorKind::kArgument, "bench", "sizes must be at least 1, the length 2");
  }
  const auto model = flags.model.load_causal_lm();
  if (model->adapters().empty()) {
    LoraConfig config{.r = 16, .lora_alpha = 32, .target_modules = {.all_linear = true}};
    model->add_adapter("bench", LoraAdapter::create(config, model->lora_host(), 0));
    model->set_active_adapters({{"bench"}});
  }
  const auto& adapter = model->adapters().begin()->second;
  adapter->set_trainable(true);
  Optimizer optimizer(*model, adapter->tensors(), {});
  const MicroBatch batch = random_batch(*model, flags.batch_size, flags.length);
  std::vector<double> times;
  for (std::int64_t i = 0; i <= flags.steps; ++i) {
    const double time = seconds_of([&] { optimizer.step(std::span(&batch, 1), 1e-4, 0); });
    if (i > 0) times.push_back(time);  // the first one warms up
  }
  const auto trained = static_cast<double>(batch.num_tokens) / median(times);
  adapter->set_trainable(false);
  GenerateOptions options{.max_new_tokens = flags.new_tokens, .ignore_eos = true};
  GenerateStats stats;
  const std::vector<std::vector<std::int32_t>> prompt{
      {batch.ids.begin(), batch.ids.begin() + static_cast<std::ptrdiff_t>(flags.length)}};
  generate_ids(*model, prompt, options, &stats);
  const auto read = static_cast<double>(stats.num_prompt_tokens) / stats.prefill_seconds;
  const auto written = static_cast<double>(stats.num_generated_tokens) / stats.decode_seconds;
  if (flags.json) {
    fmt::print("{}\n", Json{{"train_tokens_per_second", trained},
                            {"prompt_tokens_per_second", read},
                            {"generate_tokens_per_second", written},
                            {"peak_memory_bytes", peak_memory_bytes()}}
                           .dump());
  } else {
    fmt::print("LoRA training {:.0f} tokens/s ({} x {}, median of {} steps)\n", trained,
               flags.batch_size, flags.length, flags.steps);
    fmt::print("reading a prompt {:.0f} tokens/s, generating {:.1f} tokens/s\n", read, written);
    fmt::print("peak memory {}\n", readable_bytes(peak_memory_bytes()));
  }
  return kSuccess;
}

// The largest error of each kind, so that the table stays short; what does not hold is shown line by line.
class SelftestTable {
 public:
  explicit SelftestTable(bool json, bool verbose) : json_(json), verbose_(verbose) {}

  void add(const Comparison& comparison) {
    ++count_;
    const bool holds = comparison.holds();
    failed_ += holds ? 0 : 1;
    if (json_) {
      // JSON has no infinity: what could not be computed at all has no error.
      Json error = comparison.error;
      if (!(comparison.error <= std::numeric_limits<double>::max())) error = nullptr;
      fmt::print("{}\n", Json{{"subject", comparison.subject},
                              {"quantity", comparison.quantity},
                              {"error", error},
                              {"limit", comparison.limit},
                              {"holds", holds}}
                             .dump());
    } else if (verbose_ || !holds) {
      print(comparison);
    } else {
      keep_worst(comparison);
    }
  }

  int finish() {
    if (!json_) {
      for (const auto& [key, comparison] : worst_) print(comparison);
      fmt::print("{} comparisons, {} do not hold\n", count_, failed_);
    }
    return failed_ == 0 && count_ > 0 ? kSuccess : kFailure;
  }

 private:
  static std::string kind_of(const std::string& quantity) {
    return quantity.substr(0, quantity.find(" of "));
  }
  static void print(const Comparison& c) {
    fmt::print("{:<4} {:<34} {:<44} error {:<10.3g} limit {:.3g}\n", c.holds() ? "ok" : "BAD",
               c.subject, c.quantity, c.error, c.limit);
  }
  void keep_worst(const Comparison& comparison) {
    Comparison& worst =
        worst_.try_emplace({comparison.subject, kind_of(comparison.quantity)}, comparison)
            .first->second;
    if (comparison.error >= worst.error) worst = comparison;
  }

  bool json_;
  bool verbose_;
  int count_ = 0;
  int failed_ = 0;
  std::map<std::pair<std::string, std::string>, Comparison> worst_;
};

struct SelftestFlags {
  std::filesystem::path fixtures;
  std::string device = "cpu";
  bool verbose = false;
  bool json = false;
};

int run_selftest_command(const SelftestFlags& flags) {
  SelftestTable table(flags.json, flags.verbose);
  run_selftest(flags.fixtures, parse_device(flags.device),
               [&](const Comparison& comparison) { table.add(comparison); });
  return table.finish();
}

}  // namespace

void add_tokenize_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->add_option("--model,-m,--tokenizer", flags->tokenizer, "Model folder or tokenizer.json")
      ->required();
  command->add_option("--text,-t", flags->texts, "A text; standard input without it");
  command->add_option("--decode", flags->ids, "Ids to turn back into text");
  command->add_flag("--no-special", flags->no_special, "Without the special tokens");
  command->add_flag("--count", flags->count, "Print only how many");
  command->add_flag("--json", flags->json, "Print JSON objects");
  command->callback([flags, &session] { session.exit_code = run_tokenize(*flags); });
}

void add_devices_command(CLI::App& app, Session& session) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("devices", "List what Wick can compute on here");
  command->add_flag("--json", *json, "Print a JSON list");
  command->callback([json, &session] { session.exit_code = run_devices(*json); });
}

void add_bench_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench", "Speed of training and generating with a model, on this machine");
  flags->model.add_to(*command);
  command->add_option("--batch-size", flags->batch_size, "Rows of a step")->capture_default_str();
  command->add_option("--length", flags->length, "Tokens of a row")->capture_default_str();
  command->add_option("--steps", flags->steps, "Steps to time")->capture_default_str();
  command->add_option("--max-new-tokens,-n", flags->new_tokens, "Tokens to generate")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_bench(*flags); });
}

void add_selftest_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<SelftestFlags>();
  CLI::App* command = app.add_subcommand(
      "selftest", "Compare with what the reference libraries computed on a folder of fixtures");
  command->add_option("--fixtures", flags->fixtures, "Folder with models/ and tokenizers/")
      ->required();
  command->add_option("--device", flags->device, "Where to compute: cpu")->capture_default_str();
  command->add_flag("--verbose", flags->verbose, "Print every comparison");
  command->add_flag("--json", flags->json, "Print one JSON object a comparison");
  command->callback([flags, &session] { session.exit_code = run_selftest_command(*flags); });
}

}  // namespace wick::cli

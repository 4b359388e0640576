#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct Flags {
  ModelFlags model;
  std::int64_t batch_size = 4;
  std::int64_t length = 256;
  std::int64_t steps = 5;
  std::int64_t new_tokens = 64;
  bool json = false;
};

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Sorted, after one run that warms up.
std::vector<double> times_of(std::int64_t runs, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(runs));
  for (std::int64_t i = 0; i < runs; ++i) times.push_back(seconds_of(work));
  std::sort(times.begin(), times.end());
  return times;
}

// What this machine can do at best, measured with Wick's own kernels.
struct Machine {
  double flops = 0;             ///< of a large product, a second
  double bytes_per_second = 0;  ///< read from memory in order
};

Machine measure_machine(Device device) {
  constexpr std::int64_t kSide = 1024;
  constexpr std::int64_t kFloats = std::int64_t{1} << 26;  // 256 MiB: no cache holds it
  const NoGradGuard no_gradient;
  Machine machine;
  {
    const Tensor a = Tensor::full({kSide, kSide}, 0.5, DType::kF32, device);
    const double time = times_of(9, [&] { static_cast<void>(matmul(a, a)); }).front();
    machine.flops = 2.0 * kSide * kSide * kSide / time;
  }
  const Tensor long_row = Tensor::full({kFloats}, 0.5, DType::kF32, device);
  const double time = times_of(5, [&] { static_cast<void>(sum(long_row)); }).front();
  machine.bytes_per_second = static_cast<double>(kFloats) * sizeof(float) / time;
  return machine;
}

// The least work that a token takes: what is not counted makes the real limit lower, never higher.
struct Work {
  double prompt_flops = 0;  ///< a token of a prompt
  double train_flops = 0;   ///< a token of a LoRA step: forward, and back to the inputs
  double decode_bytes = 0;  ///< a generated token reads every weight once
};

Work least_work(const CausalLm& model, const LoraAdapter& adapter, std::int64_t length) {
  const ModelConfig& config = model.config();
  Work work;
  double weights = 0;
  for (const auto& linear : model.linears()) {
    const Tensor& weight = linear->weight();
    weights += static_cast<double>(weight.numel());
    work.decode_bytes +=
        static_cast<double>(weight.numel()) * static_cast<double>(size_of(weight.dtype()));
  }
  // A causal query sees half of the row on average; scores and their use are a product each.
  const auto attention = static_cast<double>(2 * length * config.num_attention_heads *
                                             config.head_dim * config.num_hidden_layers);
  work.prompt_flops = 2 * weights + attention;
  work.train_flops =
      4 * weights + 3 * attention + 6 * static_cast<double>(adapter.num_parameters());
  return work;
}

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

std::shared_ptr<LoraAdapter> adapter_of(CausalLm& model) {
  if (model.adapters().empty()) {
    const LoraConfig config{.r = 16, .lora_alpha = 32, .target_modules = {.all_linear = true}};
    model.add_adapter("bench", LoraAdapter::create(config, model.lora_host(), 0));
    model.set_active_adapters({{"bench"}});
  }
  return model.adapters().begin()->second;
}

// Tokens a second, beside the most that the machine could do.
struct Rate {
  std::string what;
  std::string key;
  double measured = 0;
  double limit = 0;
  std::string limited_by;
};

void check(const Flags& flags, const ModelConfig& config) {
  const auto fail = [](const std::string& rule) {
    throw Error(ErrorKind::kArgument, "bench", rule);
  };
  if (std::min({flags.batch_size, flags.length - 1, flags.steps, flags.new_tokens}) < 1) {
    fail("sizes must be at least 1, the length 2");
  }
  if (flags.length + flags.new_tokens > config.max_position_embeddings) {
    fail(fmt::format("--length and --max-new-tokens need {} positions, the model has {}",
                     flags.length + flags.new_tokens, config.max_position_embeddings));
  }
}

void print_results(const Flags& flags, const std::vector<Rate>& rates, const Machine& machine,
                   std::int64_t peak) {
  if (flags.json) {
    Json json{{"peak_memory_bytes", peak},
              {"matmul_flops_per_second", machine.flops},
              {"memory_bytes_per_second", machine.bytes_per_second},
              {"threads", num_threads()}};
    for (const Rate& rate : rates) {
      json[rate.key + "_tokens_per_second"] = rate.measured;
      json[rate.key + "_limit_tokens_per_second"] = rate.limit;
    }
    print_out(json_line(json));
    return;
  }
  print_out(fmt::format("{} threads; products at {:.1f} GFLOP/s, memory read at {:.1f} GB/s\n",
                        num_threads(), machine.flops / 1e9, machine.bytes_per_second / 1e9));
  for (const Rate& rate : rates) {
    print_out(fmt::format("{:<22} {:>9.1f} tokens/s, {:.0f} % of the {:.1f} that {} allow\n",
                          rate.what, rate.measured, 100 * rate.measured / rate.limit, rate.limit,
                          rate.limited_by));
  }
  print_out(fmt::format("peak memory            {}\n", readable_bytes(peak)));
}

int run_bench(const Flags& flags) {
  const auto model = flags.model.load_causal_lm();
  check(flags, model->config());
  const auto adapter = adapter_of(*model);
  adapter->set_trainable(true);
  Optimizer optimizer(*model, adapter->tensors(), {});
  const MicroBatch batch = random_batch(*model, flags.batch_size, flags.length);
  const std::vector<double> steps =
      times_of(flags.steps, [&] { optimizer.step(std::span(&batch, 1), 1e-4, 0); });
  const double step = steps[steps.size() / 2];
  adapter->set_trainable(false);
  GenerateStats stats;
  const std::vector<std::vector<std::int32_t>> prompt{
      {batch.ids.begin(), batch.ids.begin() + static_cast<std::ptrdiff_t>(flags.length)}};
  generate_ids(*model, prompt, {.max_new_tokens = flags.new_tokens, .ignore_eos = true}, &stats);
  const std::int64_t peak = peak_memory_bytes();
  const Machine machine = measure_machine(model->device());
  const Work work = least_work(*model, *adapter, flags.length);
  print_results(flags,
                {{"LoRA training", "train", static_cast<double>(batch.num_tokens) / step,
                  machine.flops / work.train_flops, "products"},
                 {"reading a prompt", "prompt",
                  static_cast<double>(stats.num_prompt_tokens) / stats.prefill_seconds,
                  machine.flops / work.prompt_flops, "products"},
                 {"generating, one row", "generate",
                  static_cast<double>(stats.num_generated_tokens) / stats.decode_seconds,
                  machine.bytes_per_second / work.decode_bytes, "reads of the weights"}},
                machine, peak);
  return kSuccess;
}

constexpr const char* kFooter =
    R"(Each speed stands beside the most that this machine could do: the products of a token at the rate of one large
product, or the weights at the rate at which memory can be read.

Examples:
  wick bench --model DIR
  wick bench --model DIR --batch-size 8 --length 512 --num-threads 4 --json)";

}  // namespace

void add_bench_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("bench", "Speed of training and generating with a model, on this machine");
  command->footer(kFooter);
  flags->model.add_to(*command);
  flags->model.add_compute_dtype_to(*command);
  command->add_option("--batch-size", flags->batch_size, "Rows of a step")->capture_default_str();
  command->add_option("--length", flags->length, "Tokens of a row")->capture_default_str();
  command->add_option("--steps", flags->steps, "Steps to time")->capture_default_str();
  command->add_option("--max-new-tokens,-n", flags->new_tokens, "Tokens to generate")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_bench(*flags); });
}

}  // namespace wick::cli

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"
#include "shaped_model.hpp"
#include "text.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct Flags {
  ShapedModelFlags model;
  std::vector<std::string> parts{"train", "generate"};
  std::int64_t rank = 16;
  std::int64_t batch_size = 4;
  std::int64_t length = 256;
  std::int64_t steps = 5;
  std::int64_t new_tokens = 64;
  std::string gradient_checkpointing = "auto";
  bool json = false;

  bool times(std::string_view part) const { return std::ranges::find(parts, part) != parts.end(); }
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
  double bytes_per_second = 0;  ///< read from memory, by a row times a large matrix
};

// Products in the dtype that the model computes in, large enough to fill the device.
Machine measure_machine(Device device, DType dtype) {
  const std::int64_t side = device.type == DeviceType::kCpu ? 1024 : 8192;
  constexpr std::int64_t kFloats = std::int64_t{1} << 26;  // 256 MiB: no cache holds it
  constexpr std::int64_t kColumns = 4096;
  const NoGradGuard no_gradient;
  Machine machine;
  {
    const Tensor a = Tensor::full({side, side}, 0.5, dtype, device);
    const double time = times_of(9, [&] {
                          static_cast<void>(matmul(a, a));
                          synchronize(device);
                        }).front();
    machine.flops = 2.0 * std::pow(static_cast<double>(side), 3) / time;
  }
  // A token's work is to read matrices, and so is this.
  const Tensor matrix = Tensor::full({kFloats / kColumns, kColumns}, 0.5, DType::kF32, device);
  const Tensor row = Tensor::full({1, kColumns}, 0.5, DType::kF32, device);
  constexpr int kReads = 8;  // a GPU takes one in the time of a wait for it
  const double time = times_of(5, [&] {
                        for (int i = 0; i < kReads; ++i) {
                          static_cast<void>(matmul(row, matrix, {.transpose_b = true}));
                        }
                        synchronize(device);
                      }).front();
  machine.bytes_per_second = kReads * static_cast<double>(kFloats) * sizeof(float) / time;
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
  if (std::min({flags.batch_size, flags.length - 1, flags.steps, flags.new_tokens, flags.rank}) <
      1) {
    fail("sizes must be at least 1, the length 2");
  }
  parse_gradient_checkpointing(flags.gradient_checkpointing);
  if (flags.length + flags.new_tokens > config.max_position_embeddings) {
    fail(fmt::format("--length and --max-new-tokens need {} positions, the model has {}",
                     flags.length + flags.new_tokens, config.max_position_embeddings));
  }
}

struct Measured {
  double first_step_seconds = 0;
  double step_seconds = 0;  ///< the median of the others
  GenerateStats generated;
  std::int64_t peak = 0;  ///< of memory: the process' on the CPU, of tensors elsewhere
};

void time_training(const Flags& flags, const CausalLm& model, LoraAdapter& adapter,
                   const MicroBatch& batch, Measured& measured) {
  adapter.set_trainable(true);
  Optimizer optimizer(model, adapter.tensors(), {},
                      parse_gradient_checkpointing(flags.gradient_checkpointing));
  const auto step = [&] {
    optimizer.step(std::span(&batch, 1), 1e-4, 0);
    synchronize(model.device());
  };
  measured.first_step_seconds = seconds_of(step);
  const std::vector<double> steps = times_of(flags.steps, step);
  measured.step_seconds = steps[steps.size() / 2];
  adapter.set_trainable(false);
}

void time_generating(const Flags& flags, const CausalLm& model, const MicroBatch& batch,
                     Measured& measured) {
  const std::vector<std::vector<std::int32_t>> prompt{
      {batch.ids.begin(), batch.ids.begin() + static_cast<std::ptrdiff_t>(flags.length)}};
  // Once to warm up: what a process does once is no speed of its tokens.
  for (const std::int64_t count : {std::int64_t{1}, flags.new_tokens}) {
    measured.generated = {};
    generate_ids(model, prompt, {.max_new_tokens = count, .ignore_eos = true}, &measured.generated);
  }
}

void print_results(const Flags& flags, const std::vector<Rate>& rates, const Machine& machine,
                   const Measured& measured) {
  if (flags.json) {
    Json json{{"peak_memory_bytes", measured.peak},
              {"matmul_flops_per_second", machine.flops},
              {"memory_bytes_per_second", machine.bytes_per_second},
              {"threads", num_threads()}};
    if (flags.times("train")) {
      json["first_step_seconds"] = measured.first_step_seconds;
      json["step_seconds"] = measured.step_seconds;
    }
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
  print_out(fmt::format("peak memory            {}\n", readable_bytes(measured.peak)));
}

int run_bench(const Flags& flags) {
  const auto model = flags.model.make("bench");
  const Device device = model->device();
  check(flags, model->config());
  const auto adapter = adapter_of(*model, flags.rank, "bench");
  const MicroBatch batch = random_batch(*model, flags.batch_size, flags.length);
  synchronize(device);  // what follows times no loading
  Measured measured;
  if (flags.times("train")) time_training(flags, *model, *adapter, batch, measured);
  if (flags.times("generate")) time_generating(flags, *model, batch, measured);
  measured.peak = peak_memory_bytes(device);
  const Machine machine = measure_machine(device, model->compute_dtype());
  const Work work = least_work(*model, *adapter, flags.length);
  std::vector<Rate> rates;
  if (flags.times("train")) {
    rates.push_back({"LoRA training", "train",
                     static_cast<double>(batch.num_tokens) / measured.step_seconds,
                     machine.flops / work.train_flops, "products"});
  }
  if (flags.times("generate")) {
    const GenerateStats& stats = measured.generated;
    rates.push_back({"reading a prompt", "prompt",
                     static_cast<double>(stats.num_prompt_tokens) / stats.prefill_seconds,
                     machine.flops / work.prompt_flops, "products"});
    rates.push_back({"generating, one row", "generate",
                     static_cast<double>(stats.num_generated_tokens) / stats.decode_seconds,
                     machine.bytes_per_second / work.decode_bytes, "reads of the weights"});
  }
  print_results(flags, rates, machine, measured);
  return kSuccess;
}

constexpr const char* kFooter =
    R"(Each speed stands beside the most that this machine could do: the products of a token at the rate of one large
product, or the weights at the rate at which one large matrix is read.

Examples:
  wick bench --model DIR
  wick bench --model DIR --batch-size 8 --length 512 --num-threads 4 --json
  wick bench --shape qwen2.5-0.5b --parts train --batch-size 8 --length 1024 --device cuda)";

}  // namespace

void add_bench_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("bench", "Speed of training and generating with a model, on this machine");
  command->footer(kFooter);
  flags->model.add_to(*command);
  command->add_option("--parts", flags->parts, "What to time: train, generate")
      ->delimiter(',')
      ->check(CLI::IsMember({"train", "generate"}));
  command->add_option("--rank,--r", flags->rank, "Rank of the adapter, where --adapter names none")
      ->capture_default_str();
  command->add_option("--batch-size", flags->batch_size, "Rows of a step")->capture_default_str();
  command->add_option("--length", flags->length, "Tokens of a row")->capture_default_str();
  command->add_option("--steps", flags->steps, "Steps to time")->capture_default_str();
  command
      ->add_option(
          "--gradient-checkpointing", flags->gradient_checkpointing,
          "What a step computes again to keep less: none, selective, full; auto is selective")
      ->capture_default_str();
  command->add_option("--max-new-tokens,-n", flags->new_tokens, "Tokens to generate")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_bench(*flags); });
}

}  // namespace wick::cli

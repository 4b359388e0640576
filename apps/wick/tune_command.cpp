#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"
#include "shaped_model.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct Flags {
  ShapedModelFlags model;
  std::int64_t rank = 16;
  std::int64_t batch_size = 4;
  std::int64_t length = 256;
  int rounds = TuneOptions().rounds;
  bool json = false;
};

void check(const Flags& flags, const ModelConfig& config) {
  constexpr std::int64_t kNewTokens = 2;
  if (std::min({flags.batch_size, flags.length - 1, flags.rank}) < 1) {
    throw Error(ErrorKind::kArgument, "tune", "sizes must be at least 1, the length 2");
  }
  if (flags.length + kNewTokens > config.max_position_embeddings) {
    throw Error(
        ErrorKind::kArgument, "tune",
        fmt::format("--length must be at most {}: the model has {} positions",
                    config.max_position_embeddings - kNewTokens, config.max_position_embeddings));
  }
}

// A training step and a short generation: the calls that a user's run makes.
void run_model(const CausalLm& model, LoraAdapter& adapter, const MicroBatch& batch) {
  adapter.set_trainable(true);
  Optimizer(model, adapter.tensors(), {}).step(std::span(&batch, 1), 1e-4, 0);
  adapter.set_trainable(false);
  const std::vector<std::vector<std::int32_t>> prompt{
      {batch.ids.begin(), batch.ids.begin() + static_cast<std::ptrdiff_t>(batch.length)}};
  generate_ids(model, prompt, {.max_new_tokens = 2, .ignore_eos = true});
}

Json to_json(const TunedCall& call) {
  Json seconds = Json::object();
  for (const auto& [way, time] : call.seconds) seconds[way] = time;
  return {{"kernel", call.kernel}, {"shape", call.shape},         {"seconds", seconds},
          {"wrong", call.wrong},   {"otherwise", call.otherwise}, {"chosen", call.chosen}};
}

void print_call(const TunedCall& call) {
  std::string times;
  for (const auto& [way, time] : call.seconds) {
    times += fmt::format("{}{} {:.3g} ms", times.empty() ? "" : ", ", way, 1e3 * time);
  }
  for (const std::string& way : call.wrong) times += fmt::format(", {} is wrong", way);
  print_out(fmt::format("{:<21} {:<52} {}: {}{}\n", call.kernel, call.shape, times, call.chosen,
                        call.chosen == call.otherwise ? "" : ", not " + call.otherwise));
}

void print_report(const TuneReport& report, bool json) {
  if (json) {
    for (const TunedCall& call : report.calls) print_out(json_line(to_json(call)));
    return;
  }
  for (const TunedCall& call : report.calls) print_call(call);
  const auto changed = std::ranges::count_if(
      report.calls, [](const TunedCall& call) { return call.chosen != call.otherwise; });
  print_out(fmt::format("{} shapes measured, {} go another way from now on: {}\n",
                        report.calls.size(), changed, report.file.string()));
}

int run_tune(const Flags& flags) {
  const auto model = flags.model.make("tune");
  check(flags, model->config());
  const auto adapter = adapter_of(*model, flags.rank, "tune");
  const MicroBatch batch = random_batch(*model, flags.batch_size, flags.length);
  const TuneReport report =
      tune(model->device(), [&] { run_model(*model, *adapter, batch); }, {.rounds = flags.rounds});
  if (!report.note.empty())
    print_note("replaced a file that cannot be used: " + report.note + "\n");
  print_report(report, flags.json);
  return kSuccess;
}

constexpr const char* kFooter =
    R"(Measures each way that the device knows for the products of this model, in a training step and in generating, and
stores the best for every later run on this machine. Another batch size or length has other shapes: run it again, what was
measured before stays. WICK_FORCE_VARIANT still wins.

Examples:
  wick tune --model DIR
  wick tune --shape qwen2.5-0.5b --batch-size 8 --length 512)";

}  // namespace

void add_tune_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "tune", "Measure which way of a kernel is fastest on this machine, and keep to it");
  command->footer(kFooter);
  flags->model.device = "mps";  // the one device that has ways to choose between
  flags->model.add_to(*command);
  command->add_option("--rank,--r", flags->rank, "Rank of the adapter, where --adapter names none")
      ->capture_default_str();
  command->add_option("--batch-size", flags->batch_size, "Rows of a training step")
      ->capture_default_str();
  command->add_option("--length", flags->length, "Tokens of a row and of a prompt")
      ->capture_default_str();
  command->add_option("--rounds", flags->rounds, "How often each way is measured")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object for each shape");
  command->callback([flags, &session] { session.exit_code = run_tune(*flags); });
}

}  // namespace wick::cli

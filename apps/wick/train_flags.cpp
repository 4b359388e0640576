#include "train_flags.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/number.hpp"
#include "command.hpp"
#include "train_ranks.hpp"

namespace wick::cli {

namespace {

[[noreturn]] void fail(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "train", rule);
}

constexpr const char* kLoraGroup = "LoRA";

// Names separated by commas, or a regular expression, which may have commas of its own.
ModulePattern module_pattern(const std::vector<std::string>& values) {
  constexpr std::string_view kRegexCharacters = "*+?()[]{}|^$\\";
  ModulePattern pattern;
  if (values.size() == 1 && values[0] == "all-linear") {
    pattern.all_linear = true;
  } else if (values.size() == 1 && values[0].find_first_of(kRegexCharacters) != std::string::npos) {
    pattern.regex = values[0];
  } else {
    for (const std::string& value : values) {
      for (std::size_t begin = 0; begin < value.size();) {
        const std::size_t end = std::min(value.find(',', begin), value.size());
        if (end > begin) pattern.suffixes.push_back(value.substr(begin, end - begin));
        begin = end + 1;
      }
    }
  }
  return pattern;
}

// NAME=NUMBER
template <class Value>
std::pair<std::string, Value> assignment(const std::string& text, const std::string& flag) {
  const std::size_t equals = text.rfind('=');
  Value value{};
  if (equals != std::string::npos && equals > 0) {
    if (detail::read_number(text.substr(equals + 1), value)) return {text.substr(0, equals), value};
  }
  fail(flag + " takes NAME=NUMBER, got \"" + text + "\"");
}

}  // namespace

void TrainFlags::add_model_flags(CLI::App& command) {
  command.add_option("--model,-m", model, "Model folder in Hugging Face's layout");
  command.add_option("--init-from-config", init_from_config,
                     "Train a new model from scratch as this config.json describes it");
  command.add_option("--tokenizer", tokenizer,
                     "Folder or tokenizer.json, where it is not beside the model");
  command.add_option("--adapter,--resume-adapter-file", adapter,
                     "Start from this PEFT adapter instead of a fresh one");
  command
      .add_option("--fine-tune-type", fine_tune_type,
                  "lora and dora train an adapter, full trains every weight")
      ->check(CLI::IsMember({"lora", "dora", "full"}))
      ->capture_default_str();
  command.add_option("--device", device, "Where to compute: cpu, cuda, cuda:N or mps")
      ->capture_default_str();
  command.add_option("--devices", devices,
                     "Train on several, one process each: cuda:0,1, cuda (all GPUs) or cpu,cpu; "
                     "a step then has --gradient-accumulation-steps micro-batches per device");
  command
      .add_option("--ddp-timeout", ddp_timeout,
                  "Seconds after which a process of --devices that does not answer is lost")
      ->capture_default_str();
  command
      .add_option("--dtype", dtype,
                  "Convert the frozen weights: f32, bf16, f16; auto keeps them as stored")
      ->capture_default_str();
  add_compute_dtype(command, compute_dtype);
  command.add_option("--num-threads,--threads", num_threads,
                     "CPU threads; 0 takes every processor");
}

void TrainFlags::add_lora_flags(CLI::App& command) {
  const std::string group = kLoraGroup;
  command.add_option("--r,--lora-r,--rank", lora.r, "Rank")->capture_default_str()->group(group);
  command.add_option("--lora-alpha", lora.lora_alpha, "Scale is lora_alpha / r")
      ->capture_default_str()
      ->group(group);
  command.add_option("--lora-dropout", lora.lora_dropout, "Of the adapter's input")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--target-modules", target_modules,
                  "Names of layers (q_proj,v_proj), one regular expression, or all-linear; by "
                  "default PEFT's choice for the model")
      ->group(group);
  command.add_option("--exclude-modules", exclude_modules, "Layers to leave out, written likewise")
      ->group(group);
  command.add_option("--layers-to-transform", layers_to_transform, "Numbers of decoder layers")
      ->delimiter(',')
      ->group(group);
  command.add_option("--num-layers", num_layers, "Adapt only the last n decoder layers; -1: all")
      ->capture_default_str()
      ->group(group);
  command.add_option("--rank-pattern", rank_pattern, "NAME=RANK for layers that differ")
      ->group(group);
  command.add_option("--alpha-pattern", alpha_pattern, "NAME=ALPHA for layers that differ")
      ->group(group);
  command.add_flag("--use-rslora", lora.use_rslora, "Scale is lora_alpha / sqrt(r)")->group(group);
  command.add_flag("--use-dora", lora.use_dora, "Train magnitudes too (DoRA)")->group(group);
  command.add_option("--init-lora-weights", init_lora_weights, "true (Kaiming), gaussian or false")
      ->check(CLI::IsMember({"true", "false", "gaussian"}))
      ->capture_default_str()
      ->group(group);
}

void TrainFlags::add_data_flags(CLI::App& command) {
  const std::string group = "Data";
  command
      .add_option("--data", data,
                  "Folder with train.jsonl and valid.jsonl, or one .jsonl or .txt file")
      ->required()
      ->group(group);
  command.add_option("--eval-data,--validation-file", eval_data, "Held-out file")->group(group);
  command
      .add_option("--max-seq-length,--max-length", options.batches.max_seq_length,
                  "Longest sequence in tokens")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--loss-mask", loss_mask,
                  "What is learnt: auto (completions, assistant turns, all of a text), all, "
                  "last-turn")
      ->check(CLI::IsMember({"auto", "all", "last-turn"}))
      ->capture_default_str()
      ->group(group);
  command.add_flag("--mask-prompt", mask_prompt, "mlx-lm's word for --loss-mask last-turn")
      ->group(group);
  command
      .add_option("--chat-template", chat_template,
                  "How {\"messages\"} are written; auto takes the model's own; with a name, "
                  "prompts and completions are written so too")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag("--packing", options.batches.packing,
                "Several samples in one row, kept apart by the mask")
      ->group(group);
  command
      .add_option("--batch-size,--per-device-train-batch-size", options.batches.batch_size,
                  "Rows of a micro-batch")
      ->capture_default_str()
      ->group(group);
}

void TrainFlags::add_optimizer_flags(CLI::App& command) {
  const std::string group = "Optimizer";
  const auto option = [&](const std::string& name, auto& value, const std::string& text) {
    command.add_option(name, value, text)->capture_default_str()->group(group);
  };
  option("--learning-rate,--lr", options.learning_rate, "Peak of the schedule");
  option("--lr-scheduler-type", scheduler, "constant, linear or cosine");
  option("--warmup-steps", options.warmup_steps, "Steps over which the rate rises from 0");
  option("--warmup-ratio", options.warmup_ratio, "The same as a share of all steps");
  option("--min-lr-ratio", options.min_lr_ratio, "Share of the peak at which schedules end");
  option("--gradient-accumulation-steps,--grad-accumulation-steps",
         options.gradient_accumulation_steps, "Micro-batches of a step");
  option("--weight-decay", options.optimizer.weight_decay, "Of AdamW");
  option("--adam-beta1", options.optimizer.adam_beta1, "Of AdamW");
  option("--adam-beta2", options.optimizer.adam_beta2, "Of AdamW");
  option("--adam-epsilon", options.optimizer.adam_epsilon, "Of AdamW");
  option("--max-grad-norm", options.optimizer.max_grad_norm, "Gradients are scaled down to it");
}

void TrainFlags::add_run_flags(CLI::App& command) {
  const std::string group = "Run";
  const auto option = [&](const std::string& name, auto& value, const std::string& text) {
    return command.add_option(name, value, text)->capture_default_str()->group(group);
  };
  option("--num-train-epochs,--epochs", options.num_train_epochs, "Passes over the data");
  option("--max-steps,--iters", options.max_steps, "Steps; wins over epochs when above 0");
  option("--eval-steps,--steps-per-eval", options.eval_steps,
         "Evaluate every n steps; 0: at the end");
  option("--early-stopping-patience", options.early_stopping_patience,
         "Stop after n evaluations without a better loss; 0: never");
  command
      .add_flag("--load-best-model-at-end", options.load_best_model_at_end,
                "The result is that of the best evaluation")
      ->group(group);
  option("--seed", options.seed, "Of data order, dropout and fresh weights");
  command
      .add_flag(
          "--gradient-checkpointing{full},--grad-checkpoint{full}", gradient_checkpointing,
          "What backward computes again to keep less: none; selective (norms and SwiGLU, a few "
          "percent of the time); full (every layer, also without a value); auto: selective, or "
          "what --memory-budget asks for")
      ->type_size(1)
      ->expected(0, 1)
      ->default_str("auto")
      ->group(group);
  option("--memory-budget", memory_budget,
         "Choose what is computed twice so that the run fits, for example 2GiB");
}

void TrainFlags::add_output_flags(CLI::App& command) {
  const std::string group = "Output";
  const auto option = [&](const std::string& name, auto& value, const std::string& text) {
    return command.add_option(name, value, text)->capture_default_str()->group(group);
  };
  option("--output-dir,-o", output_dir, "Where checkpoints, metrics, report and result go");
  command
      .add_flag("--overwrite-output-dir", overwrite_output_dir,
                "Remove what an earlier run left in --output-dir")
      ->group(group);
  option("--save-steps,--save-every", options.save_steps,
         "Write a checkpoint every n steps; 0: at the end");
  option("--save-total-limit", options.save_total_limit, "Checkpoints to keep; 0: all");
  command
      .add_option("--resume-from-checkpoint,--resume", resume,
                  "Go on from a checkpoint folder, or from the latest one")
      ->expected(0, 1)
      ->default_str("latest")
      ->group(group);
  option("--save-dtype", save_dtype, "Dtype of fully trained weights: auto (f32), bf16, f16");
  option("--logging-steps,--steps-per-report", logging_steps, "Print every n steps");
  command
      .add_option("--sample-prompt", sample_prompts,
                  "Continue it before and after training; may be repeated")
      ->group(group);
  option("--sample-tokens", sample_tokens, "Longest sample in tokens");
  command.add_flag("--json", json, "Print JSON lines instead of text")->group(group);
}

void TrainFlags::add_to(CLI::App& command) {
  add_model_flags(command);
  add_data_flags(command);
  add_lora_flags(command);
  add_optimizer_flags(command);
  add_run_flags(command);
  add_output_flags(command);
  command_ = &command;
}

TrainerOptions TrainFlags::trainer_options() const {
  TrainerOptions result = options;
  result.fine_tune_type = is_full() ? FineTuneType::kFull : FineTuneType::kLora;
  result.output_dir = output_dir;
  result.lr_scheduler_type = parse_schedule_type(scheduler);
  if (!memory_budget.empty()) result.memory_budget = parse_bytes(memory_budget);
  result.compute = parse_gradient_checkpointing(gradient_checkpointing);
  // The budget chooses, beginning with nothing.
  if (gradient_checkpointing == "auto" && result.memory_budget > 0) {
    result.compute.selective_checkpointing = false;
  }
  if (is_full()) result.save_dtype = parse_dtype(save_dtype).value_or(DType::kF32);
  return result;
}

LoraConfig TrainFlags::lora_config(std::int64_t num_hidden_layers) const {
  LoraConfig config = lora;
  config.use_dora = config.use_dora || fine_tune_type == "dora";
  config.target_modules = module_pattern(target_modules);
  config.exclude_modules = module_pattern(exclude_modules);
  if (!layers_to_transform.empty()) config.layers_to_transform = layers_to_transform;
  if (num_layers >= 0 && num_layers < num_hidden_layers) {
    std::vector<std::int64_t>& layers = config.layers_to_transform.emplace();
    for (std::int64_t i = num_hidden_layers - num_layers; i < num_hidden_layers; ++i) {
      layers.push_back(i);
    }
  }
  for (const std::string& text : rank_pattern) {
    config.rank_pattern.push_back(assignment<std::int64_t>(text, "--rank-pattern"));
  }
  for (const std::string& text : alpha_pattern) {
    config.alpha_pattern.push_back(assignment<double>(text, "--alpha-pattern"));
  }
  if (init_lora_weights == "gaussian") config.init_lora_weights = LoraInit::kGaussian;
  if (init_lora_weights == "false") config.init_lora_weights = LoraInit::kNone;
  return config;
}

bool TrainFlags::is_given(const std::string& flag) const {
  return command_->get_option(flag)->count() > 0;
}

void TrainFlags::check_adapter_flags() const {
  for (const CLI::Option* option : command_->get_options()) {
    if (option->get_group() != kLoraGroup || option->count() == 0) continue;
    if (is_full())
      fail(option->get_name() + " is for adapters, and --fine-tune-type full has none");
    if (!adapter.empty()) {
      fail(option->get_name() +
           " would change the adapter that --adapter names; it is trained as it is");
    }
  }
  if (is_full() && !adapter.empty()) fail("--adapter is for --fine-tune-type lora and dora");
  if (lora.r < 1) fail("--r must be at least 1");
  if (!(lora.lora_dropout >= 0 && lora.lora_dropout < 1)) {
    fail("--lora-dropout must be at least 0 and less than 1");
  }
  if (num_layers == 0 || num_layers < -1) fail("--num-layers must be at least 1, or -1 for all");
  if (num_layers > 0 && !layers_to_transform.empty()) {
    fail("--num-layers and --layers-to-transform exclude each other");
  }
}

void TrainFlags::check() const {
  if (model.empty() == init_from_config.empty()) {
    fail("one of --model and --init-from-config is needed");
  }
  if (!model.empty()) check_model_folder(model);
  parse_device(device);
  if (is_given("--device") && is_given("--devices")) {
    fail("--device and --devices exclude each other");
  }
  if (is_given("--devices")) parse_devices(devices);
  constexpr int kLongestTimeout = 7 * 24 * 3600;
  if (ddp_timeout < 1 || ddp_timeout > kLongestTimeout) {
    fail(fmt::format("--ddp-timeout must be in [1, {}]", kLongestTimeout));
  }
  if (!init_from_config.empty() && !is_full()) {
    fail("a new model is trained in full: add --fine-tune-type full");
  }
  parse_dtype(compute_dtype);
  parse_gradient_checkpointing(gradient_checkpointing);
  const DType wanted = parse_dtype(dtype).value_or(DType::kF32);
  if (is_full() && wanted != DType::kF32) {
    fail("--fine-tune-type full trains in f32; --save-dtype chooses what is written");
  }
  if (!is_full() && is_given("--save-dtype")) fail("--save-dtype is for --fine-tune-type full");
  if (overwrite_output_dir && !resume.empty()) {
    fail("--overwrite-output-dir would remove the checkpoint to resume from");
  }
  if (mask_prompt && loss_mask == "all") {
    fail("--mask-prompt and --loss-mask all contradict each other");
  }
  if (logging_steps < 1) fail("--logging-steps must be at least 1");
  if (sample_tokens < 1) fail("--sample-tokens must be at least 1");
  if (options.batches.batch_size < 1) fail("--batch-size must be at least 1");
  if (options.batches.max_seq_length < 2) fail("--max-seq-length must be at least 2");
  check_adapter_flags();
}

LossMask TrainFlags::mask() const {
  if (loss_mask == "all") return LossMask::kAll;
  return loss_mask == "last-turn" || mask_prompt ? LossMask::kLastTurn : LossMask::kAuto;
}

std::filesystem::path TrainFlags::tokenizer_path() const {
  if (!tokenizer.empty()) return tokenizer;
  return init_from_config.empty() ? model : folder_of_tokenizer(init_from_config);
}

std::vector<std::pair<std::string, std::string>> TrainFlags::settings() const {
  std::vector<std::pair<std::string, std::string>> given{{"command", command_line()}};
  std::vector<std::pair<std::string, std::string>> others;
  for (const CLI::Option* option : command_->get_options()) {
    const std::string name = option->get_lnames().front();
    if (name == "help" || name == "config") continue;
    if (option->count() > 0) {
      given.emplace_back(name, CLI::detail::join(option->results(), ", "));
    } else if (option->get_type_size() == 0) {
      others.emplace_back(name, "false");
    } else if (!option->get_default_str().empty() && name != "resume-from-checkpoint") {
      others.emplace_back(name, option->get_default_str());
    }
  }
  given.insert(given.end(), others.begin(), others.end());
  return given;
}

std::string TrainFlags::command_line() const {
  std::vector<std::string> words{"wick", "train"};
  for (const CLI::Option* option : command_->get_options()) {
    const std::string flag = "--" + option->get_lnames().front();
    for (const std::string& value : option->results()) {
      if (option->get_type_size() == 0) {
        words.push_back(flag);
        if (value != "true") words.back().append("=").append(value);
      } else {
        words.insert(words.end(), {flag, value});
      }
    }
  }
  return shell_line(words);
}

}  // namespace wick::cli

#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "wick/wick.hpp"

namespace wick::cli {

/// The flags of `wick train`, as they stand on the command line.
struct TrainFlags {
  std::filesystem::path model;
  std::filesystem::path init_from_config;
  std::filesystem::path tokenizer;
  std::filesystem::path data;
  std::filesystem::path eval_data;
  std::filesystem::path output_dir = "adapters";
  bool overwrite_output_dir = false;
  std::filesystem::path adapter;
  std::string resume;
  std::string fine_tune_type = "lora";
  LoraConfig lora;
  std::vector<std::string> target_modules;
  std::vector<std::string> exclude_modules;
  std::vector<std::int64_t> layers_to_transform;
  std::vector<std::string> rank_pattern;
  std::vector<std::string> alpha_pattern;
  std::string init_lora_weights = "true";
  std::int64_t num_layers = -1;
  std::string loss_mask = "auto";
  bool mask_prompt = false;
  std::string chat_template = "auto";
  std::string scheduler = "linear";
  std::string gradient_checkpointing = "auto";
  std::string memory_budget;
  std::string save_dtype = "auto";
  std::int64_t logging_steps = 10;
  std::vector<std::string> sample_prompts;
  std::int64_t sample_tokens = 60;
  std::string device = "cpu";
  std::string devices;
  int ddp_timeout = 600;
  std::string dtype = "auto";
  std::string compute_dtype = "auto";
  int num_threads = 0;
  bool json = false;
  TrainerOptions options;

  void add_to(CLI::App& command);
  /// Refuses flags that contradict each other, or that would have no effect. Throws Error kArgument.
  void check() const;
  /// The options with everything that is spelt as text filled in. Throws Error kArgument.
  TrainerOptions trainer_options() const;
  /// As above for the adapter of a model with so many layers.
  LoraConfig lora_config(std::int64_t num_hidden_layers) const;
  LossMask mask() const;
  bool is_full() const { return fine_tune_type == "full"; }
  /// The folder of the tokenizer that is used.
  std::filesystem::path tokenizer_path() const;
  /// Every flag with the value that it has in this run, those that were given first.
  std::vector<std::pair<std::string, std::string>> settings() const;
  /// The command line that gives the same run.
  std::string command_line() const;

 private:
  bool is_given(const std::string& flag) const;
  void check_adapter_flags() const;
  void add_model_flags(CLI::App& command);
  void add_lora_flags(CLI::App& command);
  void add_data_flags(CLI::App& command);
  void add_optimizer_flags(CLI::App& command);
  void add_run_flags(CLI::App& command);
  void add_output_flags(CLI::App& command);

  const CLI::App* command_ = nullptr;
};

}  // namespace wick::cli

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
  std::string loss_mask = "auto";
  std::string chat_template = "auto";
  std::string scheduler = "linear";
  bool gradient_checkpointing = false;
  std::string memory_budget;
  std::string save_dtype = "auto";
  std::int64_t logging_steps = 1;
  std::vector<std::string> sample_prompts;
  std::int64_t sample_tokens = 60;
  std::string device = "cpu";
  std::string dtype = "auto";
  int num_threads = 0;
  bool json = false;
  TrainerOptions options;

  void add_to(CLI::App& command);
  /// The options with everything that is spelt as text filled in. Throws Error kArgument.
  TrainerOptions trainer_options() const;
  /// As above for the adapter.
  LoraConfig lora_config() const;
  LossMask mask() const;
  bool is_full() const { return fine_tune_type == "full"; }

 private:
  void add_model_flags(CLI::App& command);
  void add_lora_flags(CLI::App& command);
  void add_data_flags(CLI::App& command);
  void add_optimizer_flags(CLI::App& command);
  void add_run_flags(CLI::App& command);
};

}  // namespace wick::cli

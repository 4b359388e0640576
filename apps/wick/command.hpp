#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exit_code.hpp"
#include "text.hpp"
#include "wick/wick.hpp"

namespace wick::cli {

/// What every command shares. Commands register themselves and leave their result here.
struct Session {
  int exit_code = kSuccess;
  std::vector<std::string> command_line;  ///< as it was given
};

/// Makes `app` the program wick: every command, its flags and its help.
void add_commands(CLI::App& app, Session& session);

void add_train_command(CLI::App& app, Session& session);
void add_generate_command(CLI::App& app, Session& session);
void add_chat_command(CLI::App& app, Session& session);
void add_eval_command(CLI::App& app, Session& session);
void add_embed_command(CLI::App& app, Session& session);
void add_merge_command(CLI::App& app, Session& session);
void add_inspect_command(CLI::App& app, Session& session);
void add_tokenize_command(CLI::App& app, Session& session);
void add_devices_command(CLI::App& app, Session& session);
void add_bench_command(CLI::App& app, Session& session);
void add_selftest_command(CLI::App& app, Session& session);
void add_tune_command(CLI::App& app, Session& session);

/// The flags of a command that runs a model.
struct ModelFlags {
  std::filesystem::path model;
  std::string adapters;  ///< "DIR" or "DIR=WEIGHT,DIR=WEIGHT"
  std::string device = "cpu";
  std::string dtype = "auto";
  std::string compute_dtype = "auto";
  int num_threads = 0;
  std::filesystem::path tokenizer;  ///< empty: that of the model

  /// Adds --model, --adapter, --device, --dtype and --num-threads.
  void add_to(CLI::App& command);
  /// Adds --compute-dtype, for commands that run the model.
  void add_compute_dtype_to(CLI::App& command);
  /// Adds --tokenizer.
  void add_tokenizer_to(CLI::App& command);
  /// Reads the tokenizer. Throws as Tokenizer::from_file().
  Tokenizer load_tokenizer() const;
  /// The folder that chat templates are read from.
  std::filesystem::path template_folder() const;
  /// Applies num_threads and gives what load() functions take. Throws Error kArgument.
  LoadOptions load_options() const;
  /// Loads the decoder with its adapters active.
  std::shared_ptr<CausalLm> load_causal_lm() const;
  /// Loads and activates the adapters on any model.
  void attach_adapters(Model& model) const;
};

/// Flags of sampling and stopping, with llama.cpp's and mlx-lm's spellings as second names.
struct GenerateFlags {
  GenerateOptions options;
  std::string chat_template = "auto";
  std::string system_prompt;

  void add_to(CLI::App& command);
};

/// Adds --compute-dtype with the text that every command has.
void add_compute_dtype(CLI::App& command, std::string& compute_dtype);
/// Throws Error kIo when there is no folder of this name: every --model is one.
void check_model_folder(const std::filesystem::path& model);
/// The folder that holds a tokenizer: `path` itself, or that of a tokenizer.json.
std::filesystem::path folder_of_tokenizer(const std::filesystem::path& path);
/// The template that --chat-template names: "auto" is that of `folder`.
ChatTemplate choose_template(const std::string& name, const std::filesystem::path& folder);
/// The longest sequence to train on or evaluate: `wanted`, but no more than the model takes. A note says when it is less.
std::int64_t fitting_length(std::int64_t wanted, const ModelConfig& config);
/// Sets the number of threads unless it is 0. Throws Error kArgument.
void apply_num_threads(int num_threads);
/// True when the first record of a data file holds messages, which only a template can write. What is wrong with a
/// record, the reader of the data set says.
bool is_conversation(const std::filesystem::path& path);

}  // namespace wick::cli

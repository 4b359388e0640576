#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wick/wick.hpp"

namespace wick::cli {

/// How the program ends; docs/commands.md has the table.
enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,      ///< the work could not be done, or a comparison did not hold
  kUsage = 2,        ///< a flag, a value or a combination of them is wrong
  kFileAccess = 3,   ///< a file cannot be read or written
  kFileContent = 4,  ///< a file breaks its format, or holds what Wick does not support
  kMemory = 5,       ///< not enough memory, or more than the budget
  kInterrupted = 130,
};

/// The code for an error that nobody handled.
ExitCode exit_code_of(const Error& error);

/// What every command shares. Commands register themselves and leave their result here.
struct Session {
  int exit_code = kSuccess;
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

/// The flags of a command that runs a model.
struct ModelFlags {
  std::filesystem::path model;
  std::string adapters;  ///< "DIR" or "DIR=WEIGHT,DIR=WEIGHT"
  std::string device = "cpu";
  std::string dtype = "auto";
  int num_threads = 0;
  std::filesystem::path tokenizer;  ///< empty: that of the model

  /// Adds --model, --adapter, --device, --dtype and --num-threads.
  void add_to(CLI::App& command);
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

/// "f32", "float32", "bfloat16", …; "auto" is nothing. Throws Error kArgument.
std::optional<DType> parse_dtype(const std::string& name);
/// Throws Error kIo when there is no folder of this name: every --model is one.
void check_model_folder(const std::filesystem::path& model);
/// The folder that holds a tokenizer: `path` itself, or that of a tokenizer.json.
std::filesystem::path folder_of_tokenizer(const std::filesystem::path& path);
/// Words quoted where a shell would read them otherwise, separated by spaces.
std::string shell_line(const std::vector<std::string>& words);
/// "512MiB", "2GB", "1.5g" or bytes. Throws Error kArgument.
std::int64_t parse_bytes(const std::string& text);
/// "1.2 GiB".
std::string readable_bytes(std::int64_t bytes);
/// "1 h 02 min", "3 min 20 s", "12 s".
std::string readable_seconds(double seconds);
/// The template that --chat-template names: "auto" is that of `folder`.
ChatTemplate choose_template(const std::string& name, const std::filesystem::path& folder);
/// The longest sequence to train on or evaluate: `wanted`, but no more than the model takes. A note says when it is less.
std::int64_t fitting_length(std::int64_t wanted, const ModelConfig& config);
/// Sets the number of threads unless it is 0. Throws Error kArgument.
void apply_num_threads(int num_threads);
/// True when the first record of a data file holds messages, which only a template can write. What is wrong with a
/// record, the reader of the data set says.
bool is_conversation(const std::filesystem::path& path);
/// The most memory that this process has held, as the system counts it.
std::int64_t peak_memory_bytes();

}  // namespace wick::cli

#include "train_output.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "command.hpp"

namespace wick::cli {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_io(const fs::path& path, const std::string& what,
                          const std::error_code& problem) {
  throw Error(ErrorKind::kIo, path.string(), what + ": " + problem.message());
}

// What a killed run left unfinished has another name.
bool is_checkpoint(const std::string& name) {
  constexpr std::string_view kPrefix = "checkpoint-";
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
         name.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
}

bool is_of_a_run(const std::string& name) {
  constexpr std::array<std::string_view, 7> kNames{
      "adapter_config.json", "adapter_model.safetensors",    "config.json",
      "model.safetensors",   "model.safetensors.index.json", "metrics.jsonl",
      "report.html"};
  const bool is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || is_shard ||
         is_checkpoint(name);
}

std::vector<fs::path> files_of_a_run(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder, problem)) {
    if (is_of_a_run(entry.path().filename().string())) found.push_back(entry.path());
  }
  if (problem) fail_io(folder, "cannot be read", problem);
  std::sort(found.begin(), found.end());
  return found;
}

void copy_if_there(const fs::path& from, const fs::path& to) {
  if (fs::exists(from)) detail::write_file_atomically(to, detail::read_text_file(from));
}

}  // namespace

void check_output_folder(const TrainFlags& flags) {
  const fs::path& folder = flags.output_dir;
  std::error_code problem;
  if (!flags.model.empty() && fs::equivalent(folder, flags.model, problem)) {
    throw Error(ErrorKind::kArgument, "train",
                "--output-dir must be another folder than the model's: " + folder.string());
  }
  problem.clear();
  fs::create_directories(folder, problem);
  if (problem) fail_io(folder, "cannot be created", problem);
  // Better now than after hours: makes a temporary file and removes it.
  static_cast<void>(detail::AtomicFile(folder / "metrics.jsonl"));
  if (!flags.resume.empty() || flags.overwrite_output_dir) return;
  auto found = files_of_a_run(folder);
  // A run that was killed before its first checkpoint left nothing to lose.
  std::erase_if(found, [](const fs::path& path) {
    return path.filename() == "metrics.jsonl" || path.filename() == "report.html";
  });
  if (found.empty()) return;
  throw Error(ErrorKind::kArgument, "train",
              folder.string() + " holds another run (" + found[0].filename().string() + ")", {},
              "--resume goes on with it, --overwrite-output-dir removes it, or choose another "
              "--output-dir");
}

void clear_output_folder(const fs::path& folder) {
  for (const fs::path& path : files_of_a_run(folder)) {
    std::error_code problem;
    fs::remove_all(path, problem);
    if (problem) fail_io(path, "cannot be removed", problem);
  }
}

void copy_model_companions(const TrainFlags& flags) {
  const fs::path source = flags.tokenizer_path();
  const fs::path folder = folder_of_tokenizer(source);
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json",
                           "chat_template.jinja", "added_tokens.json"}) {
    copy_if_there(folder / name, flags.output_dir / name);
  }
  const bool is_file = !fs::is_directory(source);
  copy_if_there(is_file ? source : source / "tokenizer.json", flags.output_dir / "tokenizer.json");
  const fs::path model =
      flags.init_from_config.empty() ? flags.model : folder_of_tokenizer(flags.init_from_config);
  copy_if_there(model / "generation_config.json", flags.output_dir / "generation_config.json");
}

std::vector<std::string> next_commands(const TrainFlags& flags) {
  const std::string output = flags.output_dir.string();
  std::vector<std::string> model{"--model", flags.is_full() ? output : flags.model.string()};
  if (!flags.is_full()) {
    model.insert(model.end(), {"--adapter", output});
    if (!flags.tokenizer.empty())
      model.insert(model.end(), {"--tokenizer", flags.tokenizer.string()});
  }
  const auto line = [&](std::string command, const std::vector<std::string>& rest) {
    std::vector<std::string> words{"wick", std::move(command)};
    words.insert(words.end(), model.begin(), model.end());
    words.insert(words.end(), rest.begin(), rest.end());
    return shell_line(words);
  };
  const std::string prompt =
      flags.sample_prompts.empty() ? "Once upon a time" : flags.sample_prompts[0];
  std::vector<std::string> commands{line("generate", {"--prompt", prompt})};
  if (!flags.is_full()) commands.push_back(line("merge", {"--output", output + "-merged"}));
  return commands;
}

std::string resume_command(const TrainFlags& flags) {
  return flags.command_line() + (flags.resume.empty() ? " --resume" : "");
}

}  // namespace wick::cli

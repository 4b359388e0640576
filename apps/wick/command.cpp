#include "command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

[[noreturn]] void fail(const std::string& rule) { throw Error(ErrorKind::kArgument, "wick", rule); }

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

ExitCode exit_code_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kArgument:
    case ErrorKind::kDevice:  // one that --device names
      return kUsage;
    case ErrorKind::kIo:
      return kFileAccess;
    case ErrorKind::kParse:
    case ErrorKind::kUnsupported:
    case ErrorKind::kShape:
    case ErrorKind::kDtype:
      return kFileContent;
    case ErrorKind::kOutOfMemory:
      return kMemory;
    default:
      return kFailure;
  }
}

void ModelFlags::add_to(CLI::App& command) {
  command.add_option("--model,-m", model, "Model folder in Hugging Face's layout")->required();
  command.add_option("--adapter,--adapter-path", adapters,
                     "PEFT adapter folder; several as DIR=WEIGHT,DIR=WEIGHT");
  command.add_option("--device", device, "Where to compute: cpu, cuda, cuda:N or mps")
      ->capture_default_str();
  command
      .add_option("--dtype", dtype,
                  "Convert the weights: f32, bf16, f16; auto keeps them as they are stored")
      ->capture_default_str();
  command.add_option("--num-threads,--threads", num_threads,
                     "CPU threads; 0 takes every processor");
}

void add_compute_dtype(CLI::App& command, std::string& compute_dtype) {
  command
      .add_option("--compute-dtype", compute_dtype,
                  "Dtype of activations: f32, bf16, f16; frozen weights are converted to 16 bits "
                  "with it. auto is f32, on CUDA the weights' own where all have the same 16 bits")
      ->capture_default_str();
}

void ModelFlags::add_compute_dtype_to(CLI::App& command) {
  add_compute_dtype(command, compute_dtype);
}

void ModelFlags::add_tokenizer_to(CLI::App& command) {
  command.add_option("--tokenizer", tokenizer,
                     "Folder or tokenizer.json, where it is not beside the model");
}

void check_model_folder(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) return;
  const bool exists = std::filesystem::exists(model, ignored);
  throw Error(ErrorKind::kIo, model.string(),
              exists ? "is a file; --model takes the folder that holds it" : "does not exist");
}

Tokenizer ModelFlags::load_tokenizer() const {
  check_model_folder(model);
  return Tokenizer::from_file(tokenizer.empty() ? model : tokenizer);
}

std::filesystem::path ModelFlags::template_folder() const {
  return tokenizer.empty() ? model : folder_of_tokenizer(tokenizer);
}

void apply_num_threads(int num_threads) {
  if (num_threads < 0) fail("--num-threads must not be negative");
  if (num_threads > 0) set_num_threads(num_threads);
}

LoadOptions ModelFlags::load_options() const {
  check_model_folder(model);
  apply_num_threads(num_threads);
  return {.device = parse_device(device),
          .dtype = parse_dtype(dtype),
          .compute_dtype = parse_dtype(compute_dtype)};
}

void ModelFlags::attach_adapters(Model& model_to_change) const {
  std::vector<ActiveAdapter> active;
  for (const std::string& part : split(adapters, ',')) {
    const std::size_t equals = part.rfind('=');
    const std::string folder = part.substr(0, equals);
    const double weight =
        equals == std::string::npos ? 1 : parse_number(part.substr(equals + 1), "--adapter weight");
    model_to_change.load_adapter(folder, folder);
    active.push_back({folder, weight});
  }
  if (!active.empty()) model_to_change.set_active_adapters(active);
}

std::shared_ptr<CausalLm> ModelFlags::load_causal_lm() const {
  const LoadOptions options = load_options();
  auto loaded = CausalLm::load(model, options);
  attach_adapters(*loaded);
  return loaded;
}

void GenerateFlags::add_to(CLI::App& command) {
  SamplingOptions& sampling = options.sampling;
  command
      .add_option("--max-new-tokens,--max-tokens,--n-predict,-n", options.max_new_tokens,
                  "Longest continuation")
      ->capture_default_str();
  command
      .add_option("--temperature,--temp", sampling.temperature,
                  "0 takes the most likely token; higher is more varied")
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "Draw from the k most likely tokens; 0: all");
  command.add_option("--top-p", sampling.top_p, "Draw from the tokens that make up p")
      ->capture_default_str();
  command.add_option("--min-p", sampling.min_p,
                     "Leave out tokens below p times the most likely one");
  command
      .add_option("--repetition-penalty,--repeat-penalty", sampling.repetition_penalty,
                  "Above 1 makes tokens seen before less likely")
      ->capture_default_str();
  command.add_option("--repetition-context-size,--repeat-last-n", sampling.repetition_context_size,
                     "Tokens that penalties look back; 0: all");
  command.add_option("--presence-penalty", sampling.presence_penalty,
                     "Subtracted once from tokens generated before");
  command.add_option("--frequency-penalty", sampling.frequency_penalty,
                     "Subtracted for every time that a token was generated");
  command.add_option("--seed", sampling.seed, "Seed of the draws")->capture_default_str();
  command.add_option("--stop", options.stop, "Text that ends a continuation; may be repeated");
  command.add_flag("--ignore-eos", options.ignore_eos, "Go on past the model's end tokens");
  command
      .add_option("--chat-template", chat_template,
                  "How conversations are written; auto takes the model's own")
      ->capture_default_str();
  command.add_option("--system-prompt,--system", system_prompt, "First message of a conversation");
}

ChatTemplate choose_template(const std::string& name, const std::filesystem::path& folder) {
  return name == "auto" ? ChatTemplate::of_model(folder) : ChatTemplate::named(name);
}

std::int64_t fitting_length(std::int64_t wanted, const ModelConfig& config) {
  const std::int64_t limit = config.max_position_embeddings;
  if (limit <= 0 || wanted <= limit) return wanted;
  print_note(fmt::format("sequences hold at most {} tokens, as many as the model takes\n", limit));
  return limit;
}

std::filesystem::path folder_of_tokenizer(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return path;
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

bool is_conversation(const std::filesystem::path& path) {
  if (path.extension() == ".txt") return false;
  LineReader lines(path);
  const auto line = lines.next();
  if (!line) return false;
  const detail::Json record = detail::Json::parse(line->text, nullptr, false);
  return record.is_object() && (record.contains("messages") ||
                                (record.contains("prompt") && record["prompt"].is_array()));
}

}  // namespace wick::cli

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct Flags {
  std::filesystem::path path;
  bool tensors = false;
  bool json = false;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

Json tensor_json(const Weights& weights, const std::string& name) {
  const TensorInfo& info = weights.info(name);
  return {{"name", name},
          {"dtype", info.dtype},
          {"shape", info.shape},
          {"num_bytes", info.num_bytes},
          {"file", weights.file_of(name).filename().string()}};
}

// Counts and bytes by dtype, and every tensor when asked for.
Json weights_json(const Weights& weights, bool tensors) {
  Json by_dtype = Json::object();
  std::int64_t elements = 0;
  for (const std::string& name : weights.names()) {
    const TensorInfo& info = weights.info(name);
    std::int64_t count = 1;
    for (const std::int64_t size : info.shape) count *= size;
    elements += count;
    by_dtype[info.dtype] = by_dtype.value(info.dtype, std::int64_t{0}) + count;
  }
  Json json{{"num_tensors", weights.names().size()},
            {"num_parameters", elements},
            {"num_bytes", weights.num_bytes()},
            {"parameters_by_dtype", by_dtype}};
  if (!tensors) return json;
  json["tensors"] = Json::array();
  for (const std::string& name : weights.names()) {
    json["tensors"].push_back(tensor_json(weights, name));
  }
  return json;
}

Json model_json(const std::filesystem::path& folder, bool tensors) {
  const ModelConfig config = load_model_config(folder);
  Json json{{"kind", "model"},
            {"model_type", config.model_type},
            {"architecture", config.architecture},
            {"vocab_size", config.vocab_size},
            {"hidden_size", config.hidden_size},
            {"intermediate_size", config.intermediate_size},
            {"num_hidden_layers", config.num_hidden_layers},
            {"num_attention_heads", config.num_attention_heads},
            {"num_key_value_heads", config.num_key_value_heads},
            {"head_dim", config.head_dim},
            {"max_position_embeddings", config.max_position_embeddings},
            {"tie_word_embeddings", config.tie_word_embeddings},
            {"dtype", config.dtype},
            {"eos_token_id", config.eos_token_ids}};
  json.update(weights_json(Weights::open(folder), tensors));
  return json;
}

Json adapter_json(const std::filesystem::path& folder, bool tensors) {
  const std::filesystem::path path = folder / "adapter_config.json";
  const LoraConfig config = parse_lora_config(detail::read_text_file(path), path.string());
  Json json{
      {"kind", "adapter"},
      {"r", config.r},
      {"lora_alpha", config.lora_alpha},
      {"lora_dropout", config.lora_dropout},
      {"use_rslora", config.use_rslora},
      {"use_dora", config.use_dora},
      {"base_model_name_or_path", config.base_model_name_or_path},
      {"target_modules", detail::parse_json(to_json(config), path.string())["target_modules"]}};
  json.update(weights_json(Weights::open(folder / "adapter_model.safetensors"), tensors));
  return json;
}

Json checkpoint_json(const std::filesystem::path& folder, bool tensors) {
  Json json{{"kind", "checkpoint"}};
  json.update(detail::read_json_file(folder / "trainer_state.json"));
  const bool is_adapter = std::filesystem::exists(folder / "adapter_config.json");
  const Json trained = is_adapter
                           ? adapter_json(folder, tensors)
                           : weights_json(Weights::open(folder / "model.safetensors"), tensors);
  json["trained"] = trained;
  return json;
}

Json file_json(const std::filesystem::path& path) {
  Json json{{"kind", "safetensors"}, {"metadata", SafetensorsFile::open(path).metadata()}};
  json.update(weights_json(Weights::open(path), true));
  return json;
}

Json inspect(const Flags& flags) {
  const auto has = [&](const char* name) { return std::filesystem::exists(flags.path / name); };
  if (!std::filesystem::exists(flags.path)) {
    throw Error(ErrorKind::kIo, flags.path.string(), "does not exist");
  }
  if (!std::filesystem::is_directory(flags.path)) return file_json(flags.path);
  if (has("trainer_state.json")) return checkpoint_json(flags.path, flags.tensors);
  if (has("adapter_config.json")) return adapter_json(flags.path, flags.tensors);
  if (has("config.json")) return model_json(flags.path, flags.tensors);
  throw Error(ErrorKind::kIo, flags.path.string(),
              "is no model (it has no config.json), adapter (adapter_config.json), checkpoint "
              "(trainer_state.json) or safetensors file");
}

void print_tensor(const Json& tensor) {
  print_out(fmt::format("  {:<70} {:<5} {:<16} {}\n", tensor["name"].get<std::string>(),
                        tensor["dtype"].get<std::string>(),
                        shape_text(tensor["shape"].get<std::vector<std::int64_t>>()),
                        readable_bytes(tensor["num_bytes"].get<std::int64_t>())));
}

void print_text(const Json& json, const std::string& indent = "") {
  for (const auto& [key, value] : json.items()) {
    if (key == "tensors") continue;
    if (value.is_object() && !value.empty() && key != "parameters_by_dtype") {
      print_out(fmt::format("{}{}:\n", indent, key));
      print_text(value, indent + "  ");
    } else if (key == "num_bytes") {
      print_out(fmt::format("{}{}: {} ({})\n", indent, key, value.dump(),
                            readable_bytes(value.get<std::int64_t>())));
    } else {
      print_out(fmt::format("{}{}: {}\n", indent, key,
                            value.is_string() ? value.get<std::string>() : value.dump()));
    }
  }
  if (!json.contains("tensors")) return;
  for (const Json& tensor : json["tensors"]) print_tensor(tensor);
}

int run_inspect(const Flags& flags) {
  const Json json = inspect(flags);
  if (flags.json) {
    print_out(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print_text(json);
  }
  return kSuccess;
}

constexpr const char* kFooter = R"(Examples:
  wick inspect DIR
  wick inspect my-adapter --tensors
  wick inspect my-adapter/checkpoint-100 --json
  wick inspect model.safetensors)";

}  // namespace

void add_inspect_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Say what a model, adapter, checkpoint or safetensors file holds");
  command->footer(kFooter);
  command->add_option("path", flags->path, "A folder or a safetensors file")->required();
  command->add_flag("--tensors", flags->tensors, "List every tensor");
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_inspect(*flags); });
}

}  // namespace wick::cli

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wick {

/// Names modules as PEFT does: a list of suffixes, a regular expression that matches the whole path, or the words
/// "all-linear".
struct ModulePattern {
  std::vector<std::string> suffixes;
  std::string regex;        ///< used when not empty
  bool all_linear = false;  ///< every linear layer but the output head

  /// True when nothing was named.
  bool empty() const { return suffixes.empty() && regex.empty() && !all_linear; }
};

/// How the tensors of a new adapter start. B is zero unless kNone.
enum class LoraInit {
  kKaiming,     ///< A uniform in ±1/√K (PEFT: true)
  kGaussian,    ///< A normal with deviation 1/r
  kNone,        ///< A and B both uniform in ±1/√fan_in (PEFT: false)
  kEva,         ///< A from the inputs' principal components; read, but not computed here
  kOrthogonal,  ///< A and B orthogonal to each other; read, but not computed here
};

/// PEFT's LoRA configuration, in its words.
struct LoraConfig {
  std::int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  bool use_rslora = false;
  bool use_dora = false;
  ModulePattern target_modules;  ///< empty: PEFT's default for the model type
  ModulePattern exclude_modules;
  std::optional<std::vector<std::int64_t>> layers_to_transform;
  std::vector<std::string> layers_pattern;
  std::vector<std::pair<std::string, std::int64_t>> rank_pattern;  ///< in the order of the file
  std::vector<std::pair<std::string, double>> alpha_pattern;
  LoraInit init_lora_weights = LoraInit::kKaiming;
  std::string base_model_name_or_path;
  std::string task_type = "CAUSAL_LM";
  /// every other key of adapter_config.json as one JSON object, kept verbatim
  std::string other_json = "{}";
};

/// Reads adapter_config.json. Throws Error kParse for a broken value (with the key), kUnsupported for a key that changes
/// the forward pass in a way that Wick does not compute (with the key and its value).
LoraConfig parse_lora_config(std::string_view json, std::string_view where);

/// What PEFT writes: sorted keys, every key of PEFT 0.21 present, unknown keys kept. Only within rank_pattern and
/// alpha_pattern the order stays as it is, since the first pattern that matches wins. Throws Error kArgument for text
/// that is no UTF-8 and a number that is not finite.
std::string to_json(const LoraConfig& config);

/// One linear layer that an adapter changes.
struct LoraTarget {
  std::string path;
  std::int64_t r = 0;
  double lora_alpha = 0;
  double scale = 0;  ///< lora_alpha / r, or lora_alpha / √r
};

/// The layers that a configuration names in a model.
struct LoraSelection {
  std::vector<LoraTarget> targets;     ///< in the model's order
  std::vector<std::string> unmatched;  ///< suffixes of target_modules that name no layer
  /// target_modules as a list, where they were left open or said "all-linear" too; empty for a regular expression
  std::vector<std::string> target_modules;
};

/// Applies target_modules, exclude_modules, layers_to_transform, rank_pattern and alpha_pattern to the paths of a model's
/// linear layers with PEFT's rules. `output_head` is the path that "all-linear" leaves out; `model_type` chooses the
/// targets when none are named. Throws Error kArgument when no layer is named, for a bad regular expression, and where PEFT
/// refuses too: layers_to_transform beside a regular expression, layers_pattern without layers_to_transform.
LoraSelection select_lora_targets(const LoraConfig& config, std::span<const std::string> paths,
                                  std::string_view output_head, std::string_view model_type);

}  // namespace wick

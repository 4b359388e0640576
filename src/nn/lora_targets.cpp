#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>

#include "nn/module_regex.hpp"
#include "wick/base/error.hpp"
#include "wick/nn/lora_config.hpp"

namespace wick {

namespace {

constexpr std::size_t kNamesInMessage = 8;

bool has_suffix(std::string_view path, std::string_view suffix) {
  return path == suffix || (path.size() > suffix.size() && path.ends_with(suffix) &&
                            path[path.size() - suffix.size() - 1] == '.');
}

// A pattern ready to be asked about many paths.
class Matcher {
 public:
  Matcher(const ModulePattern& pattern, std::string_view output_head)
      : pattern_(pattern), output_head_(output_head) {
    if (!pattern.regex.empty()) regex_.emplace(pattern.regex);
  }

  bool matches(const std::string& path) {
    if (pattern_.all_linear) return path != output_head_;
    if (regex_) return regex_->matches(path);
    bool found = false;
    for (const std::string& suffix : pattern_.suffixes) {
      if (!has_suffix(path, suffix)) continue;
      found = true;
      used_.insert(suffix);
    }
    return found;
  }

  // True for a path that is listed in full, not by its end.
  bool lists(const std::string& path) const {
    return std::find(pattern_.suffixes.begin(), pattern_.suffixes.end(), path) !=
           pattern_.suffixes.end();
  }

  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (const std::string& suffix : pattern_.suffixes) {
      if (!used_.contains(suffix)) names.push_back(suffix);
    }
    return names;
  }

 private:
  const ModulePattern& pattern_;
  std::string_view output_head_;
  std::optional<detail::ModuleRegex> regex_;
  std::set<std::string> used_;
};

// The number of the decoder layer that a path lies in, by PEFT's expressions.
class LayerNumbers {
 public:
  explicit LayerNumbers(const LoraConfig& config) {
    if (config.layers_pattern.empty()) regexes_.emplace_back(R"(.*\.[^.]*\.(\d+)\..*)");
    for (const std::string& pattern : config.layers_pattern) {
      regexes_.emplace_back(R"(.*\.)" + pattern + R"(\.(\d+)\..*)");
    }
  }

  std::optional<std::int64_t> of(const std::string& path) const {
    for (const detail::ModuleRegex& regex : regexes_) {
      const std::string_view number = regex.match(path).first_group;
      if (!number.empty() && number.size() < 10) return std::stoll(std::string(number));
    }
    return std::nullopt;
  }

 private:
  std::vector<detail::ModuleRegex> regexes_;
};

// The value of the first pattern that fits, as in PEFT: the key is an expression for the end of the path.
template <class Value>
class PatternTable {
 public:
  explicit PatternTable(const std::vector<std::pair<std::string, Value>>& entries) {
    for (const auto& [key, value] : entries) {
      entries_.emplace_back(detail::ModuleRegex(R"((?:.*\.)?(?:)" + key + ")"), value);
    }
  }

  Value of(const std::string& path, Value otherwise) const {
    for (const auto& [regex, value] : entries_) {
      if (regex.matches(path)) return value;
    }
    return otherwise;
  }

 private:
  std::vector<std::pair<detail::ModuleRegex, Value>> entries_;
};

ModulePattern default_targets(std::string_view model_type) {
  constexpr std::array<std::string_view, 4> kDecoders{"llama", "mistral", "qwen2", "qwen3"};
  if (model_type == "bert") return {.suffixes = {"query", "value"}};
  if (std::find(kDecoders.begin(), kDecoders.end(), model_type) != kDecoders.end()) {
    return {.suffixes = {"q_proj", "v_proj"}};
  }
  throw Error(ErrorKind::kArgument, "select_lora_targets",
              "target_modules is not set, and model type \"" + std::string(model_type) +
                  "\" has no default");
}

std::string join(std::span<const std::string> names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

[[noreturn]] void nothing_selected(const LoraConfig& config, const ModulePattern& pattern,
                                   std::span<const std::string> paths) {
  std::string asked = "target_modules (";
  asked += pattern.all_linear       ? "all-linear"
           : !pattern.regex.empty() ? pattern.regex
                                    : join(pattern.suffixes);
  asked += ")";
  if (!config.exclude_modules.empty()) asked += " less exclude_modules";
  if (config.layers_to_transform) asked += " within layers_to_transform";
  const bool all = paths.size() <= kNamesInMessage;
  throw Error(ErrorKind::kArgument, "select_lora_targets",
              asked + " names no linear layer of the model; its layers are: " +
                  join(paths.first(std::min(paths.size(), kNamesInMessage))) + (all ? "" : ", …"));
}

void check_numbers(const LoraTarget& target) {
  if (target.r < 1 || !std::isfinite(target.lora_alpha)) {
    throw Error(ErrorKind::kArgument, "select_lora_targets",
                target.path + ": r must be at least 1 and lora_alpha finite, got r " +
                    std::to_string(target.r) + ", lora_alpha " + std::to_string(target.lora_alpha));
  }
}

// PEFT refuses these too; in silence they would select other layers than were meant.
void check_layer_choice(const LoraConfig& config) {
  const bool chooses = config.layers_to_transform && !config.layers_to_transform->empty();
  if (!config.layers_pattern.empty() && !chooses) {
    throw Error(ErrorKind::kArgument, "select_lora_targets",
                "layers_pattern needs layers_to_transform");
  }
  if (chooses && !config.target_modules.regex.empty()) {
    throw Error(ErrorKind::kArgument, "select_lora_targets",
                "layers_to_transform needs target_modules as a list, not as a regular expression");
  }
}

std::string_view last_name(std::string_view path) { return path.substr(path.rfind('.') + 1); }

// The names that "all-linear" stands for in this model.
std::vector<std::string> linear_names(std::span<const std::string> paths,
                                      std::string_view output_head) {
  std::set<std::string> names;
  for (const std::string& path : paths) {
    if (path != output_head) names.emplace(last_name(path));
  }
  names.erase(std::string(last_name(output_head)));
  return {names.begin(), names.end()};
}

}  // namespace

LoraSelection select_lora_targets(const LoraConfig& config, std::span<const std::string> paths,
                                  std::string_view output_head, std::string_view model_type) {
  const ModulePattern pattern =
      config.target_modules.empty() ? default_targets(model_type) : config.target_modules;
  check_layer_choice(config);
  const bool chooses_layers = config.layers_to_transform && !config.layers_to_transform->empty();
  Matcher wanted(pattern, output_head);
  Matcher excluded(config.exclude_modules, output_head);
  const LayerNumbers layers(config);
  const PatternTable<std::int64_t> ranks(config.rank_pattern);
  const PatternTable<double> alphas(config.alpha_pattern);

  LoraSelection selection;
  for (const std::string& path : paths) {
    if (!config.exclude_modules.empty() && excluded.matches(path)) continue;
    if (!wanted.matches(path)) continue;
    // PEFT does not look at the layer of a module that is listed by its whole path.
    if (chooses_layers && !wanted.lists(path)) {
      const auto number = layers.of(path);
      const auto& chosen = *config.layers_to_transform;
      if (!number || std::find(chosen.begin(), chosen.end(), *number) == chosen.end()) continue;
    }
    LoraTarget target{.path = path,
                      .r = ranks.of(path, config.r),
                      .lora_alpha = alphas.of(path, config.lora_alpha)};
    check_numbers(target);
    const auto r = static_cast<double>(target.r);
    target.scale = target.lora_alpha / (config.use_rslora ? std::sqrt(r) : r);
    selection.targets.push_back(std::move(target));
  }
  if (selection.targets.empty()) nothing_selected(config, pattern, paths);
  selection.unmatched = wanted.unused();
  selection.target_modules =
      pattern.all_linear ? linear_names(paths, output_head) : pattern.suffixes;
  return selection;
}

}  // namespace wick

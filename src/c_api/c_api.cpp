#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/base/error.hpp"
#include "wick/generate/generate.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/nn/lora_adapter.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/batches.hpp"
#include "wick/train/dataset.hpp"
#include "wick/train/optimizer.hpp"
#include "wick/wick.h"

// NOLINTNEXTLINE(readability-identifier-naming): a name of C
struct wick_model {
  std::shared_ptr<wick::CausalLm> model;
  wick::Tokenizer tokenizer;
};

// NOLINTNEXTLINE(readability-identifier-naming): a name of C
struct wick_trainer {
  std::shared_ptr<wick::CausalLm> model;
  wick::Tokenizer tokenizer;
  std::string adapter_name;
  std::shared_ptr<wick::LoraAdapter> adapter;
  wick::Optimizer optimizer;
  wick::DatasetOptions data;
  double learning_rate;
};

namespace {

std::string& last_error() noexcept {
  thread_local std::string message;
  return message;
}

wick_status failed(wick_status status, std::string_view message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();  // no memory is left for the message
  }
  return status;
}

wick_status status_of(wick::ErrorKind kind) noexcept {
  switch (kind) {
    case wick::ErrorKind::kShape:
      return WICK_ERROR_SHAPE;
    case wick::ErrorKind::kDtype:
      return WICK_ERROR_DTYPE;
    case wick::ErrorKind::kDevice:
      return WICK_ERROR_DEVICE;
    case wick::ErrorKind::kArgument:
      return WICK_ERROR_ARGUMENT;
    case wick::ErrorKind::kUnsupported:
      return WICK_ERROR_UNSUPPORTED;
    case wick::ErrorKind::kOutOfMemory:
      return WICK_ERROR_OUT_OF_MEMORY;
    case wick::ErrorKind::kBackend:
      return WICK_ERROR_BACKEND;
    case wick::ErrorKind::kIo:
      return WICK_ERROR_IO;
    case wick::ErrorKind::kParse:
      return WICK_ERROR_PARSE;
    case wick::ErrorKind::kInternal:
      break;
  }
  return WICK_ERROR_INTERNAL;
}

// No exception may cross into C.
template <class Work>
wick_status guarded(const Work& work) noexcept {
  try {
    work();
    return WICK_OK;
  } catch (const wick::Error& error) {
    return failed(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return failed(WICK_ERROR_OUT_OF_MEMORY, "the system has no more memory");
  } catch (const std::exception& error) {
    return failed(WICK_ERROR_INTERNAL, error.what());
  } catch (...) {
    return failed(WICK_ERROR_INTERNAL, "something that is no std::exception was thrown");
  }
}

[[noreturn]] void refuse(const char* function, const std::string& rule) {
  throw wick::Error(wick::ErrorKind::kArgument, function, rule);
}

struct Argument {
  const char* name;
  bool is_given;
};

void need(const char* function, std::initializer_list<Argument> arguments) {
  for (const Argument& argument : arguments) {
    if (!argument.is_given) refuse(function, std::string(argument.name) + " is NULL");
  }
}

// Hands a value over to C.
template <class T>
T* release(T value) {
  return std::make_unique<T>(std::move(value)).release();
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

wick::ModulePattern targets_of(const char* text) {
  wick::ModulePattern pattern;
  std::string_view left = text == nullptr ? "" : text;
  pattern.all_linear = trimmed(left) == "all-linear";
  while (!pattern.all_linear && !left.empty()) {
    const std::size_t end = std::min(left.find(','), left.size());
    const std::string_view name = trimmed(left.substr(0, end));
    if (!name.empty()) pattern.suffixes.emplace_back(name);
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return pattern;
}

std::shared_ptr<wick::LoraAdapter> find_adapter(const wick::CausalLm& model, const char* function,
                                                const std::string& name) {
  const auto found = model.adapters().find(name);
  if (found == model.adapters().end()) refuse(function, "no adapter is named \"" + name + "\"");
  return found->second;
}

wick::GenerateOptions generate_options(const wick_generate_options& given) {
  wick::GenerateOptions options;
  options.max_new_tokens = given.max_new_tokens;
  options.sampling = {.temperature = given.temperature,
                      .top_k = given.top_k,
                      .top_p = given.top_p,
                      .min_p = given.min_p,
                      .repetition_penalty = given.repetition_penalty,
                      .presence_penalty = given.presence_penalty,
                      .frequency_penalty = given.frequency_penalty,
                      .seed = given.seed};
  if (given.stop != nullptr) options.stop.emplace_back(given.stop);
  return options;
}

void check_training(const char* function, const wick::ModelConfig& config, double learning_rate,
                    std::int64_t max_seq_length) {
  if (!(learning_rate >= 0) || !std::isfinite(learning_rate)) {
    refuse(function,
           "learning_rate must be finite and at least 0, got " + std::to_string(learning_rate));
  }
  if (max_seq_length < 2 || max_seq_length > config.max_position_embeddings) {
    refuse(function, "max_seq_length must be in [2, " +
                         std::to_string(config.max_position_embeddings) +
                         "], the model's context; got " + std::to_string(max_seq_length));
  }
}

std::vector<std::string> strings_of(const char* function, const char* const* texts,
                                    std::int64_t count) {
  if (count < 1) refuse(function, "count must be at least 1, got " + std::to_string(count));
  std::vector<std::string> strings;
  for (std::int64_t i = 0; i < count; ++i) {
    if (texts[i] == nullptr) refuse(function, "text " + std::to_string(i) + " is NULL");
    strings.emplace_back(texts[i]);
  }
  return strings;
}

}  // namespace

extern "C" {

const char* wick_last_error(void) { return last_error().c_str(); }

const char* wick_version(void) { return WICK_VERSION; }

wick_status wick_model_load(const char* folder, wick_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&] {
    need("wick_model_load", {{"folder", folder != nullptr}, {"model", model != nullptr}});
    // The tokenizer first: when it is missing, nobody waits for the weights.
    wick::Tokenizer tokenizer = wick::Tokenizer::from_file(folder);
    *model = release(wick_model{wick::CausalLm::load(folder), std::move(tokenizer)});
  });
}

void wick_model_free(wick_model* model) { const std::unique_ptr<wick_model> owner(model); }

wick_status wick_adapter_load(wick_model* model, const char* name, const char* folder) {
  return guarded([&] {
    need("wick_adapter_load",
         {{"model", model != nullptr}, {"name", name != nullptr}, {"folder", folder != nullptr}});
    model->model->load_adapter(name, folder);
  });
}

wick_status wick_adapter_create(wick_model* model, const char* name, int64_t r, double lora_alpha,
                                const char* target_modules, uint64_t seed) {
  return guarded([&] {
    constexpr const char* kFunction = "wick_adapter_create";
    need(kFunction, {{"model", model != nullptr}, {"name", name != nullptr}});
    wick::LoraConfig config;
    config.r = r;
    config.lora_alpha = lora_alpha;
    config.target_modules = targets_of(target_modules);
    const auto adapter = wick::LoraAdapter::create(config, model->model->lora_host(), seed);
    if (!adapter->unmatched().empty()) {
      refuse(kFunction, "target_modules: \"" + adapter->unmatched().front() + "\" names no layer");
    }
    model->model->add_adapter(name, adapter);
  });
}

wick_status wick_adapter_activate(wick_model* model, const char* name) {
  return guarded([&] {
    need("wick_adapter_activate", {{"model", model != nullptr}});
    std::vector<wick::ActiveAdapter> active;
    if (name != nullptr) active.push_back({name});
    model->model->set_active_adapters(active);
  });
}

wick_status wick_adapter_save(const wick_model* model, const char* name, const char* folder) {
  return guarded([&] {
    constexpr const char* kFunction = "wick_adapter_save";
    need(kFunction,
         {{"model", model != nullptr}, {"name", name != nullptr}, {"folder", folder != nullptr}});
    find_adapter(*model->model, kFunction, name)->save(folder);
  });
}

wick_status wick_adapter_remove(wick_model* model, const char* name) {
  return guarded([&] {
    need("wick_adapter_remove", {{"model", model != nullptr}, {"name", name != nullptr}});
    model->model->remove_adapter(name);
  });
}

wick_generate_options wick_generate_defaults(void) {
  const wick::GenerateOptions options;
  return {.max_new_tokens = options.max_new_tokens,
          .temperature = options.sampling.temperature,
          .top_k = options.sampling.top_k,
          .top_p = options.sampling.top_p,
          .min_p = options.sampling.min_p,
          .repetition_penalty = options.sampling.repetition_penalty,
          .presence_penalty = options.sampling.presence_penalty,
          .frequency_penalty = options.sampling.frequency_penalty,
          .seed = options.sampling.seed,
          .stop = nullptr};
}

wick_status wick_generate(const wick_model* model, const char* prompt,
                          const wick_generate_options* options, wick_text_callback on_text,
                          void* user) {
  return guarded([&] {
    need("wick_generate", {{"model", model != nullptr},
                           {"prompt", prompt != nullptr},
                           {"options", options != nullptr},
                           {"on_text", on_text != nullptr}});
    const auto pass_on = [&](std::int64_t, std::string_view text) {
      return on_text(std::string(text).c_str(), user) != 0;
    };
    wick::generate_one(*model->model, model->tokenizer, prompt, generate_options(*options),
                       pass_on);
  });
}

wick_status wick_trainer_create(wick_model* model, const char* name, double learning_rate,
                                int64_t max_seq_length, wick_trainer** trainer) {
  if (trainer != nullptr) *trainer = nullptr;
  return guarded([&] {
    constexpr const char* kFunction = "wick_trainer_create";
    need(kFunction,
         {{"model", model != nullptr}, {"name", name != nullptr}, {"trainer", trainer != nullptr}});
    const wick::ModelConfig& config = model->model->config();
    check_training(kFunction, config, learning_rate, max_seq_length);
    const auto adapter = find_adapter(*model->model, kFunction, name);
    adapter->set_trainable(true);
    *trainer = release(wick_trainer{
        .model = model->model,
        .tokenizer = model->tokenizer,
        .adapter_name = name,
        .adapter = adapter,
        .optimizer = {*model->model, adapter->tensors(), {}},
        .data = {.max_seq_length = max_seq_length, .eos_token_id = config.eos_token_id()},
        .learning_rate = learning_rate});
  });
}

void wick_trainer_free(wick_trainer* trainer) {
  const std::unique_ptr<wick_trainer> owner(trainer);
}

wick_status wick_train_step(wick_trainer* trainer, const char* const* texts, int64_t count,
                            double* loss) {
  return guarded([&] {
    constexpr const char* kFunction = "wick_train_step";
    need(kFunction,
         {{"trainer", trainer != nullptr}, {"texts", texts != nullptr}, {"loss", loss != nullptr}});
    const wick::Dataset data = wick::Dataset::from_texts(strings_of(kFunction, texts, count),
                                                         trainer->tokenizer, trainer->data);
    std::vector<wick::Sample> samples;
    samples.reserve(static_cast<std::size_t>(data.size()));
    for (std::int64_t i = 0; i < data.size(); ++i) samples.push_back(data[i]);
    const wick::MicroBatch batch = wick::pad_samples(samples);
    if (find_adapter(*trainer->model, kFunction, trainer->adapter_name) != trainer->adapter) {
      refuse(kFunction, "the name \"" + trainer->adapter_name + "\" has another adapter now");
    }
    trainer->model->set_active_adapters({{trainer->adapter_name}});
    *loss = trainer->optimizer.step({&batch, 1}, trainer->learning_rate, 0)->loss;
  });
}

}  // extern "C"

#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "wick/wick.h"
#include "wick/wick.hpp"

struct wick_model {
  std::shared_ptr<wick::CausalLm> model;
  wick::Tokenizer tokenizer;
};

struct wick_trainer {
  wick_model& owner;
  std::shared_ptr<wick::LoraAdapter> adapter;
  wick::Optimizer optimizer;
  wick::DatasetOptions data;
  double learning_rate;
};

namespace {

std::string& last_error() {
  thread_local std::string message;
  return message;
}

wick_status status_of(wick::ErrorKind kind) {
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
wick_status guarded(const std::function<void()>& work) {
  try {
    work();
    return WICK_OK;
  } catch (const wick::Error& error) {
    last_error() = error.what();
    return status_of(error.kind());
  } catch (const std::bad_alloc&) {
    last_error() = "the system has no more memory";
    return WICK_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    last_error() = error.what();
    return WICK_ERROR_INTERNAL;
  }
}

// Every pointer that must not be NULL.
template <class... Pointers>
void need(const char* function, const Pointers*... pointers) {
  if (((pointers == nullptr) || ...)) {
    throw wick::Error(wick::ErrorKind::kArgument, function, "an argument is NULL");
  }
}

wick::ModulePattern targets_of(const char* text) {
  wick::ModulePattern pattern;
  const std::string names = text == nullptr ? "" : text;
  pattern.all_linear = names == "all-linear";
  std::size_t begin = 0;
  while (!pattern.all_linear && begin < names.size()) {
    const std::size_t end = std::min(names.find(',', begin), names.size());
    if (end > begin) pattern.suffixes.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return pattern;
}

std::shared_ptr<wick::LoraAdapter> find_adapter(const wick_model& model, const char* name) {
  const auto found = model.model->adapters().find(name);
  if (found != model.model->adapters().end()) return found->second;
  throw wick::Error(wick::ErrorKind::kArgument, "wick",
                    "no adapter is named \"" + std::string(name) + "\"");
}

wick::GenerateOptions generate_options(const wick_generate_options& given) {
  wick::GenerateOptions options;
  options.max_new_tokens = given.max_new_tokens;
  options.sampling.temperature = given.temperature;
  options.sampling.top_k = given.top_k;
  options.sampling.top_p = given.top_p;
  options.sampling.min_p = given.min_p;
  options.sampling.repetition_penalty = given.repetition_penalty;
  options.sampling.seed = given.seed;
  if (given.stop != nullptr && given.stop[0] != '\0') options.stop.emplace_back(given.stop);
  return options;
}

}  // namespace

extern "C" {

const char* wick_last_error(void) { return last_error().c_str(); }

const char* wick_version(void) { return "0.1.0"; }

wick_status wick_model_load(const char* folder, wick_model** model) {
  return guarded([&] {
    need("wick_model_load", folder, model);
    *model = nullptr;
    *model = std::make_unique<wick_model>(
                 wick_model{wick::CausalLm::load(folder), wick::Tokenizer::from_file(folder)})
                 .release();
  });
}

void wick_model_free(wick_model* model) { const std::unique_ptr<wick_model> owner(model); }

wick_status wick_adapter_load(wick_model* model, const char* name, const char* folder) {
  return guarded([&] {
    need("wick_adapter_load", model, name, folder);
    model->model->load_adapter(name, folder);
  });
}

wick_status wick_adapter_create(wick_model* model, const char* name, int64_t r, double lora_alpha,
                                const char* target_modules, uint64_t seed) {
  return guarded([&] {
    need("wick_adapter_create", model, name);
    wick::LoraConfig config;
    config.r = r;
    config.lora_alpha = lora_alpha;
    config.target_modules = targets_of(target_modules);
    model->model->add_adapter(name,
                              wick::LoraAdapter::create(config, model->model->lora_host(), seed));
  });
}

wick_status wick_adapter_activate(wick_model* model, const char* name) {
  return guarded([&] {
    need("wick_adapter_activate", model);
    if (name == nullptr) {
      model->model->set_active_adapters({});
    } else {
      model->model->set_active_adapters({{name}});
    }
  });
}

wick_status wick_adapter_save(const wick_model* model, const char* name, const char* folder) {
  return guarded([&] {
    need("wick_adapter_save", model, name, folder);
    find_adapter(*model, name)->save(folder);
  });
}

wick_generate_options wick_generate_defaults(void) {
  return {.max_new_tokens = 256,
          .temperature = 0,
          .top_k = 0,
          .top_p = 1,
          .min_p = 0,
          .repetition_penalty = 1,
          .seed = 0,
          .stop = nullptr};
}

wick_status wick_generate(const wick_model* model, const char* prompt,
                          const wick_generate_options* options, wick_text_callback on_text,
                          void* user) {
  return guarded([&] {
    need("wick_generate", model, prompt, options);
    const std::vector<std::string> prompts{prompt};
    wick::generate(*model->model, model->tokenizer, prompts, generate_options(*options),
                   [&](std::int64_t, std::string_view text) {
                     return on_text == nullptr || on_text(std::string(text).c_str(), user) != 0;
                   });
  });
}

wick_status wick_trainer_create(wick_model* model, const char* name, double learning_rate,
                                int64_t max_seq_length, wick_trainer** trainer) {
  return guarded([&] {
    need("wick_trainer_create", model, name, trainer);
    *trainer = nullptr;
    const auto adapter = find_adapter(*model, name);
    model->model->set_active_adapters({{name}});
    adapter->set_trainable(true);
    wick::DatasetOptions data{.max_seq_length = max_seq_length};
    const auto& eos = model->model->config().eos_token_ids;
    if (!eos.empty()) data.eos_token_id = static_cast<std::int32_t>(eos[0]);
    *trainer =
        std::make_unique<wick_trainer>(
            wick_trainer{*model, adapter, wick::Optimizer(*model->model, adapter->tensors(), {}),
                         data, learning_rate})
            .release();
  });
}

void wick_trainer_free(wick_trainer* trainer) {
  const std::unique_ptr<wick_trainer> owner(trainer);
  if (owner) owner->adapter->set_trainable(false);
}

wick_status wick_train_step(wick_trainer* trainer, const char* const* texts, int64_t count,
                            double* loss) {
  return guarded([&] {
    need("wick_train_step", trainer, texts, loss);
    std::vector<std::string> strings;
    for (int64_t i = 0; i < count; ++i) {
      need("wick_train_step", texts[i]);
      strings.emplace_back(texts[i]);
    }
    const wick::Dataset data =
        wick::Dataset::from_texts(strings, trainer->owner.tokenizer, trainer->data);
    std::vector<wick::Sample> samples;
    for (std::int64_t i = 0; i < data.size(); ++i) samples.push_back(data[i]);
    const wick::MicroBatch batch = wick::pad_samples(samples);
    const auto report = trainer->optimizer.step(std::span(&batch, 1), trainer->learning_rate, 0);
    *loss = report->loss;
  });
}

}  // extern "C"

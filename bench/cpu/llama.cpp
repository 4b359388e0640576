// llama.cpp as an engine, for the cases "decode". Its libraries are loaded when asked for, from the folder that
// WICK_BENCH_LLAMA names: a build needs nothing of them.

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "gguf.hpp"
#include "model_case.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::bench {

namespace {

// A structure of llama.h that is passed by value. Its fields change from one release to the next, so what the library
// filled in is handed back as it is; this is larger than any of them, which the calling convention of x86-64 and
// AArch64 allows for what is passed in memory.
struct alignas(16) Opaque {
  std::array<std::byte, 1024> bytes{};
};

// The fields of llama_context_params that are set here: the first ones, and those at places of the pinned release, which are
// checked by their defaults.
struct ContextSizes {
  std::uint32_t context = 0;
  std::uint32_t batch = 0;
  std::uint32_t micro_batch = 0;
  std::uint32_t sequences = 1;
};
struct Field {
  std::size_t at;
  std::int32_t usual;
};
constexpr Field kFlashAttention{0x34, -1};  // it decides
constexpr Field kTypeOfKeys{0x68, 1};       // f16
constexpr Field kTypeOfValues{0x6C, 1};
constexpr std::int32_t kOff = 0;
constexpr std::int32_t kF32 = 0;

void set(Opaque& params, const Field& field, std::int32_t value) {
  std::int32_t found = 0;
  std::byte* const place = params.bytes.data() + field.at;
  std::memcpy(&found, place, sizeof(found));
  if (found != field.usual)
    throw std::runtime_error("llama_context_params of this llama.cpp are laid out otherwise");
  std::memcpy(place, &value, sizeof(value));
}

void be_silent(int /*level*/, const char* /*text*/, void* /*data*/) {}

// The functions that are called; null data stands for the library's own structures.
struct Api {
  void (*ggml_backend_load_all_from_path)(const char*);
  void* (*ggml_backend_reg_by_name)(const char*);
  void* (*ggml_backend_reg_get_proc_address)(void*, const char*);
  void (*ggml_threadpool_params_init)(void*, int);
  const char* (*ggml_version)();
  const char* (*ggml_commit)();
  void (*llama_log_set)(void (*)(int, const char*, void*), void*);
  Opaque (*llama_model_default_params)();
  Opaque (*llama_context_default_params)();
  void* (*llama_model_load_from_file)(const char*, Opaque);
  void (*llama_model_free)(void*);
  void* (*llama_init_from_model)(void*, Opaque);
  void (*llama_free)(void*);
  std::uint32_t (*llama_n_batch)(const void*);
  void (*llama_set_n_threads)(void*, std::int32_t, std::int32_t);
  void (*llama_attach_threadpool)(void*, void*, void*);
  void* (*llama_adapter_lora_init)(void*, const char*);
  std::int32_t (*llama_set_adapters_lora)(void*, void**, std::size_t, float*);
  Opaque (*llama_batch_get_one)(std::int32_t*, std::int32_t);
  std::int32_t (*llama_decode)(void*, Opaque);
  void* (*llama_get_memory)(const void*);
  bool (*llama_memory_seq_rm)(void*, std::int32_t, std::int32_t, std::int32_t);
  float* (*llama_get_logits)(void*);
};

class Libraries {
 public:
  explicit Libraries(const std::filesystem::path& folder) {
    for (const char* const prefix : {"libggml-base", "libggml", "libllama"})
      handles_.push_back(open(folder, prefix));
  }

  template <class Function>
  void find(Function& function, const char* name) const {
    for (void* const handle : handles_) {
      // SAFETY: the signatures are those of llama.h and ggml-backend.h of the release that package-lock.json names.
      function = reinterpret_cast<Function>(dlsym(handle, name));
      if (function != nullptr) return;
    }
    throw std::runtime_error(fmt::format("these libraries of llama.cpp lack {}", name));
  }

 private:
  // "libllama.so", or with the release in its name.
  static void* open(const std::filesystem::path& folder, const std::string& prefix) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(prefix + ".") || name.find(".so") == std::string::npos) continue;
      // SAFETY: a library that this program alone asks for; it stays loaded until the end.
      if (void* const handle = dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL)) return handle;
      throw std::runtime_error(dlerror());
    }
    throw std::runtime_error(fmt::format("{} has no {}.so", folder.string(), prefix));
  }

  std::vector<void*> handles_;
};

Api api_of(const Libraries& libraries) {
  Api api{};
#define WICK_FIND(name) libraries.find(api.name, #name)
  WICK_FIND(ggml_backend_load_all_from_path);
  WICK_FIND(ggml_backend_reg_by_name);
  WICK_FIND(ggml_backend_reg_get_proc_address);
  WICK_FIND(ggml_threadpool_params_init);
  WICK_FIND(ggml_version);
  WICK_FIND(ggml_commit);
  WICK_FIND(llama_log_set);
  WICK_FIND(llama_model_default_params);
  WICK_FIND(llama_context_default_params);
  WICK_FIND(llama_model_load_from_file);
  WICK_FIND(llama_model_free);
  WICK_FIND(llama_init_from_model);
  WICK_FIND(llama_free);
  WICK_FIND(llama_n_batch);
  WICK_FIND(llama_set_n_threads);
  WICK_FIND(llama_attach_threadpool);
  WICK_FIND(llama_adapter_lora_init);
  WICK_FIND(llama_set_adapters_lora);
  WICK_FIND(llama_batch_get_one);
  WICK_FIND(llama_decode);
  WICK_FIND(llama_get_memory);
  WICK_FIND(llama_memory_seq_rm);
  WICK_FIND(llama_get_logits);
#undef WICK_FIND
  return api;
}

template <class T>
T* required(T* pointer, const char* what) {
  if (pointer == nullptr) throw std::runtime_error(fmt::format("llama.cpp: {} failed", what));
  return pointer;
}

// A model with its adapter, and the keys and values of the prompt.
class Decoder {
 public:
  Decoder(const Api& api, void* pool, const Case& which)
      : api_(api), ids_(tokens(which)), vocabulary_(which.size(kVocabulary)) {
    {
      // The file is mapped: it may go once it is open.
      const GgufFiles files(which);
      model_ = required(
          api_.llama_model_load_from_file(files.model().c_str(), api_.llama_model_default_params()),
          "loading the model");
      open_context(which, pool);
      void* adapter =
          required(api_.llama_adapter_lora_init(model_, files.adapter().c_str()), "the adapter");
      float scale = 1;
      if (api_.llama_set_adapters_lora(context_, &adapter, 1, &scale) != 0)
        throw std::runtime_error("llama.cpp: llama_set_adapters_lora failed");
    }
    decode(0, static_cast<std::int32_t>(ids_.size()));
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() {
    if (context_ != nullptr) api_.llama_free(context_);
    if (model_ != nullptr) api_.llama_model_free(model_);
  }

  /// The logits of the prompt's first token, once more after the prompt.
  const float* next_logits() {
    const auto length = static_cast<std::int32_t>(ids_.size());
    api_.llama_memory_seq_rm(api_.llama_get_memory(context_), 0, length, -1);
    decode(0, 1);
    return api_.llama_get_logits(context_);
  }

  std::int64_t vocabulary() const { return vocabulary_; }

 private:
  // Its flash attention computes in f16, with keys and values in f32 too: a model in f32 goes without it.
  void open_context(const Case& which, void* pool) {
    const auto length = static_cast<std::uint32_t>(ids_.size());
    Opaque params = api_.llama_context_default_params();
    const ContextSizes sizes{.context = length + 1, .batch = length, .micro_batch = length};
    std::memcpy(params.bytes.data(), &sizes, sizeof(sizes));
    if (which.dtype == "f32") {
      set(params, kFlashAttention, kOff);
      set(params, kTypeOfKeys, kF32);
      set(params, kTypeOfValues, kF32);
    }
    context_ = required(api_.llama_init_from_model(model_, params), "making a context");
    if (api_.llama_n_batch(context_) != length)
      throw std::runtime_error("llama_context_params of this llama.cpp begin otherwise");
    api_.llama_set_n_threads(context_, num_threads(), num_threads());
    api_.llama_attach_threadpool(context_, pool, pool);
  }

  void decode(std::size_t first, std::int32_t count) {
    const int status =
        api_.llama_decode(context_, api_.llama_batch_get_one(ids_.data() + first, count));
    if (status != 0) throw std::runtime_error(fmt::format("llama_decode answers {}", status));
  }

  const Api& api_;
  std::vector<std::int32_t> ids_;
  std::int64_t vocabulary_;
  void* model_ = nullptr;
  void* context_ = nullptr;
};

class LlamaCpp : public Engine {
 public:
  explicit LlamaCpp(const std::filesystem::path& folder) : api_(api_of(Libraries(folder))) {
    api_.llama_log_set(be_silent, nullptr);
    api_.ggml_backend_load_all_from_path(folder.c_str());
    void* const cpu = required(api_.ggml_backend_reg_by_name("CPU"), "loading its CPU backend");
    const auto make_pool = [&] {
      using New = void* (*)(void*);
      // SAFETY: the signature of ggml_threadpool_new() in ggml-cpu.h.
      return reinterpret_cast<New>(
          required(api_.ggml_backend_reg_get_proc_address(cpu, "ggml_threadpool_new"),
                   "looking for ggml_threadpool_new"));
    }();
    Opaque params;
    api_.ggml_threadpool_params_init(params.bytes.data(), num_threads());
    pool_ = required(make_pool(params.bytes.data()), "making its threads");
  }

  std::string version() const override {
    return fmt::format("ggml {} ({})", api_.ggml_version(), api_.ggml_commit());
  }

  std::optional<Work> prepare(const Case& which) override {
    if (which.op != "decode" || which.size(kBatch) != 1) return std::nullopt;
    const auto decoder = std::make_shared<Decoder>(api_, pool_, which);
    return Work{[decoder] { static_cast<void>(decoder->next_logits()); },
                [decoder] {
                  const float* const logits = decoder->next_logits();
                  return std::vector<Matrix>{
                      {1, decoder->vocabulary(), {logits, logits + decoder->vocabulary()}}};
                }};
  }

 private:
  Api api_;
  void* pool_ = nullptr;
};

}  // namespace

std::unique_ptr<Engine> make_llama() {
  const char* const folder = std::getenv("WICK_BENCH_LLAMA");
  if (folder == nullptr || !std::filesystem::is_directory(folder))
    throw std::runtime_error("`./dev bench peers llama.cpp` fetches it");
  return std::make_unique<LlamaCpp>(folder);
}

}  // namespace wick::bench

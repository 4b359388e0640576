#include "wick/nn/lora_adapter.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/random.hpp"

namespace wick {

namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kConfigFile = "adapter_config.json";
constexpr std::string_view kTensorFile = "adapter_model.safetensors";

std::string name_of(const std::string& path, std::string_view part) {
  return std::string(kPrefix) + path + "." + std::string(part);
}

Tensor uniform(const Shape& shape, std::int64_t fan_in, const RandomKey& key, Device device) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return random_uniform(shape, DType::kF32, key, -bound, bound, device);
}

// Row norms of the weight: with the low-rank part zero, the gain of magnitude 1 is 1 / norm.
Tensor row_norms(const Linear& linear) {
  const NoGradGuard no_gradient;
  const std::int64_t n = linear.out_features();
  const Device device = linear.weight().device();
  const Tensor gain = dora_gain(Tensor::full({n}, 1, DType::kF32, device), linear.weight(),
                                Tensor::zeros({1, linear.in_features()}, DType::kF32, device),
                                Tensor::zeros({n, 1}, DType::kF32, device), 1);
  std::vector<float> norms = gain.to_vector<float>();
  for (float& value : norms) value = value == 0 ? 0 : 1 / value;
  return Tensor::from_values(norms, {n}, device);
}

std::shared_ptr<LoraLayer> fresh_layer(const Linear& linear, const LoraTarget& target,
                                       const LoraConfig& config, const RandomKey& key) {
  const std::int64_t in = linear.in_features();
  const std::int64_t out = linear.out_features();
  const Device device = linear.weight().device();
  auto layer = std::make_shared<LoraLayer>();
  layer->scale = target.scale;
  layer->dropout = config.lora_dropout;
  layer->b = Tensor::zeros({out, target.r}, DType::kF32, device);
  if (config.init_lora_weights == LoraInit::kGaussian) {
    layer->a = random_normal({target.r, in}, DType::kF32, key, 0, 1 / static_cast<double>(target.r),
                             device);
  } else {
    layer->a = uniform({target.r, in}, in, key, device);
  }
  if (config.init_lora_weights == LoraInit::kNone) {
    const RandomKey other{.seed = key.seed, .offset = key.offset + (std::uint64_t{1} << 35)};
    layer->b = uniform({out, target.r}, target.r, other, device);
  }
  if (config.use_dora) layer->magnitude = row_norms(linear);
  return layer;
}

void check_creatable(const LoraConfig& config) {
  if (!(config.lora_dropout >= 0 && config.lora_dropout < 1)) {
    throw Error(ErrorKind::kArgument, "create_adapter",
                "lora_dropout must be at least 0 and less than 1, got " +
                    std::to_string(config.lora_dropout));
  }
  if (config.init_lora_weights == LoraInit::kEva ||
      config.init_lora_weights == LoraInit::kOrthogonal) {
    throw Error(ErrorKind::kUnsupported, "create_adapter",
                "init_lora_weights eva and orthogonal are read, but not computed");
  }
}

LoraSelection select(const LoraConfig& config, const LoraHost& host) {
  std::vector<std::string> paths;
  paths.reserve(host.linears.size());
  for (const Linear* linear : host.linears) paths.push_back(linear->path());
  return select_lora_targets(config, paths, host.output_head, host.model_type);
}

const Linear& find(const LoraHost& host, const std::string& path) {
  const auto found = std::find_if(host.linears.begin(), host.linears.end(),
                                  [&](const Linear* linear) { return linear->path() == path; });
  return **found;
}

// Takes the tensors of one file by name and remembers which were taken.
class AdapterFile {
 public:
  explicit AdapterFile(const std::filesystem::path& path) : file_(SafetensorsFile::open(path)) {}

  // A copy in f32 that owns its memory, so that training never writes to mapped pages.
  Tensor take(const std::string& name, const Shape& expected, Device device) {
    if (!file_.contains(name)) {
      fail(ErrorKind::kArgument, name, "is missing; the configuration asks for it");
    }
    const Tensor stored = file_.tensor(name);
    if (!is_floating(stored.dtype())) fail(ErrorKind::kDtype, name, "must be f32, f16 or bf16");
    if (!(stored.shape() == expected)) {
      fail(ErrorKind::kShape, name,
           "must be " + to_string(expected) + " for this model, the file has " +
               to_string(stored.shape()));
    }
    taken_.insert(name);
    const Tensor values = Tensor::empty(expected, DType::kF32);
    copy_(values, stored);
    return values.to(device);
  }

  bool contains(const std::string& name) const { return file_.contains(name); }

  void check_all_taken() const {
    for (const auto& [name, info] : file_.tensors()) {
      if (taken_.contains(name)) continue;
      fail(ErrorKind::kArgument, name,
           "names no layer that the configuration selects in this model");
    }
  }

 private:
  [[noreturn]] void fail(ErrorKind kind, const std::string& name, const std::string& why) const {
    throw Error(kind, "load_adapter", file_.path().string() + ": tensor " + name + " " + why);
  }

  SafetensorsFile file_;
  std::set<std::string> taken_;
};

// PEFT writes the magnitude without ".weight"; its in-memory name, which some tools save, has it.
std::string magnitude_name(const AdapterFile& file, const std::string& path) {
  const std::string plain = name_of(path, "lora_magnitude_vector");
  const std::string longer = plain + ".weight";
  return !file.contains(plain) && file.contains(longer) ? longer : plain;
}

// PEFT saves an adapter that is not named "default" in a folder of its name: an easy one to miss.
void check_is_adapter(const std::filesystem::path& folder) {
  std::error_code problem;
  if (std::filesystem::exists(folder / kConfigFile, problem)) return;
  std::string inside;
  for (std::filesystem::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    if (!std::filesystem::exists(entry->path() / kConfigFile, problem)) continue;
    inside += (inside.empty() ? "" : ", ") + entry->path().string();
  }
  throw Error(ErrorKind::kIo, "load_adapter", (folder / kConfigFile).string() + " does not exist",
              {}, inside.empty() ? "" : "there is an adapter in " + inside);
}

std::optional<Error> pickled(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "adapter_model.bin")) return std::nullopt;
  return Error(ErrorKind::kUnsupported, "load_adapter",
               (folder / "adapter_model.bin").string() +
                   " is a pickled PyTorch file, which runs code when it is read",
               {}, "save the adapter with PEFT's save_pretrained(safe_serialization=True)");
}

}  // namespace

std::shared_ptr<LoraAdapter> LoraAdapter::create(const LoraConfig& config, const LoraHost& host,
                                                 std::uint64_t seed) {
  check_creatable(config);
  auto adapter = std::make_shared<LoraAdapter>(Private(), config);
  LoraConfig& own = adapter->config_;
  if (own.base_model_name_or_path.empty()) own.base_model_name_or_path = host.base_model;
  LoraSelection selection = select(config, host);
  if (!selection.target_modules.empty())
    own.target_modules = {.suffixes = selection.target_modules};
  adapter->unmatched_ = std::move(selection.unmatched);
  std::uint64_t number = 0;
  for (const LoraTarget& target : selection.targets) {
    const RandomKey key{.seed = seed, .offset = number++ << 36};
    adapter->layers_[target.path] = fresh_layer(find(host, target.path), target, config, key);
  }
  return adapter;
}

std::shared_ptr<LoraAdapter> LoraAdapter::load(const std::filesystem::path& folder,
                                               const LoraHost& host) {
  check_is_adapter(folder);
  const std::filesystem::path config_path = folder / kConfigFile;
  LoraConfig config = parse_lora_config(detail::read_text_file(config_path), config_path.string());
  if (!std::filesystem::exists(folder / kTensorFile)) {
    if (const auto error = pickled(folder)) throw *error;
  }
  AdapterFile file(folder / kTensorFile);
  auto adapter = std::make_shared<LoraAdapter>(Private(), std::move(config));
  LoraSelection selection = select(adapter->config_, host);
  adapter->unmatched_ = std::move(selection.unmatched);
  for (const LoraTarget& target : selection.targets) {
    const Linear& linear = find(host, target.path);
    const Device device = linear.weight().device();
    auto layer = std::make_shared<LoraLayer>();
    layer->scale = target.scale;
    layer->dropout = adapter->config_.lora_dropout;
    layer->a =
        file.take(name_of(target.path, "lora_A.weight"), {target.r, linear.in_features()}, device);
    layer->b =
        file.take(name_of(target.path, "lora_B.weight"), {linear.out_features(), target.r}, device);
    if (adapter->config_.use_dora) {
      layer->magnitude =
          file.take(magnitude_name(file, target.path), {linear.out_features()}, device);
    }
    adapter->layers_[target.path] = std::move(layer);
  }
  file.check_all_taken();
  return adapter;
}

void LoraAdapter::save(const std::filesystem::path& folder) const {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) {
    throw Error(ErrorKind::kIo, "save_adapter",
                folder.string() + " cannot be created: " + problem.message());
  }
  save_safetensors(folder / kTensorFile, tensors());
  detail::write_file_atomically(folder / kConfigFile, to_json(config_));
}

NamedTensors LoraAdapter::tensors() const {
  NamedTensors named;
  for (const auto& [path, layer] : layers_) {
    named.emplace_back(name_of(path, "lora_A.weight"), layer->a);
    named.emplace_back(name_of(path, "lora_B.weight"), layer->b);
    if (layer->magnitude.defined()) {
      named.emplace_back(name_of(path, "lora_magnitude_vector"), layer->magnitude);
    }
  }
  std::sort(named.begin(), named.end(),
            [](const auto& left, const auto& right) { return left.first < right.first; });
  return named;
}

void LoraAdapter::set_trainable(bool trainable) const {
  for (const auto& [name, tensor] : tensors()) tensor.set_requires_grad(trainable);
}

std::int64_t LoraAdapter::num_parameters() const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors()) count += tensor.numel();
  return count;
}

std::int64_t LoraAdapter::num_bytes() const {
  return num_parameters() * static_cast<std::int64_t>(size_of(DType::kF32));
}

}  // namespace wick

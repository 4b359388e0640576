#include "wick/models/model.hpp"

#include <algorithm>
#include <cmath>

#include "models/builder.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"

namespace wick {

namespace {

[[noreturn]] void fail(const std::string& op, const std::string& rule) {
  throw Error(ErrorKind::kArgument, op, rule);
}

// The dtype that all matrices share, when it has 16 bits.
std::optional<DType> common_half_dtype(const NamedTensors& parameters) {
  std::optional<DType> common;
  for (const auto& [name, tensor] : parameters) {
    if (tensor.rank() < 2) continue;
    if (tensor.dtype() == DType::kF32 || tensor.dtype() != common.value_or(tensor.dtype())) {
      return std::nullopt;
    }
    common = tensor.dtype();
  }
  return common;
}

}  // namespace

Tensor ParameterList::norm(const std::string& name, std::int64_t size, ParameterKind kind) {
  const Tensor stored = add(name, source_.take(name, {size}, kind));
  return cast(stored, DType::kF32);
}

void Model::choose_compute_dtype(std::optional<DType> wanted) {
  if (wanted && !is_floating(*wanted)) {
    throw Error(ErrorKind::kDtype, "load_model",
                "compute_dtype must be f32, f16 or bf16, got " + std::string(to_string(*wanted)));
  }
  if (!wanted && device_.type == DeviceType::kCuda) wanted = common_half_dtype(parameters_);
  compute_dtype_ = wanted.value_or(DType::kF32);
}

Linear& Model::add_linear(const std::string& path, Tensor weight, Tensor bias) {
  linears_.push_back(
      std::make_unique<Linear>(path, linears_.size(), std::move(weight), std::move(bias)));
  return *linears_.back();
}

std::int64_t Model::num_parameters() const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : parameters_) count += tensor.numel();
  return count;
}

std::int64_t Model::num_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : parameters_) {
    bytes += tensor.numel() * static_cast<std::int64_t>(size_of(tensor.dtype()));
  }
  return bytes;
}

Linear* Model::find_linear(std::string_view path) const {
  for (const auto& linear : linears_) {
    if (linear->path() == path) return linear.get();
  }
  return nullptr;
}

LoraHost Model::lora_host() const {
  LoraHost host;
  for (const auto& linear : linears_) host.linears.push_back(linear.get());
  host.output_head = output_head_;
  host.model_type = config_.model_type;
  host.base_model = folder_.string();
  return host;
}

void Model::set_trainable(bool trainable) {
  for (const auto& [name, tensor] : parameters_) {
    if (trainable && tensor.dtype() != DType::kF32) {
      throw Error(
          ErrorKind::kDtype, "set_trainable",
          name + " is " + std::string(to_string(tensor.dtype())) + "; weights are trained in f32",
          {}, "load the model with dtype f32");
    }
  }
  for (const auto& [name, tensor] : parameters_) tensor.set_requires_grad(trainable);
}

void Model::add_adapter(const std::string& name, std::shared_ptr<LoraAdapter> adapter) {
  if (adapter == nullptr) fail("add_adapter", "\"" + name + "\" is a null pointer");
  if (adapters_.contains(name)) {
    fail("add_adapter", "there is an adapter named \"" + name + "\" already");
  }
  const std::string changes = "adapter \"" + name + "\" changes ";
  for (const auto& [path, layer] : adapter->layers()) {
    const Linear* linear = find_linear(path);
    if (linear == nullptr) {
      fail("add_adapter", std::string(changes).append(path).append(", which the model lacks"));
    }
    linear->check_fits(*layer);
  }
  adapters_.emplace(name, std::move(adapter));
}

std::shared_ptr<LoraAdapter> Model::create_adapter(const std::string& name,
                                                   const LoraConfig& config, std::uint64_t seed) {
  std::shared_ptr<LoraAdapter> adapter = LoraAdapter::create(config, lora_host(), seed);
  add_adapter(name, adapter);
  return adapter;
}

std::shared_ptr<LoraAdapter> Model::load_adapter(const std::string& name,
                                                 const std::filesystem::path& folder) {
  std::shared_ptr<LoraAdapter> adapter = LoraAdapter::load(folder, lora_host());
  add_adapter(name, adapter);
  return adapter;
}

void Model::remove_adapter(const std::string& name) {
  const auto found = adapters_.find(name);
  if (found == adapters_.end()) fail("remove_adapter", "no adapter is named \"" + name + "\"");
  for (const auto& linear : linears_) {
    const auto layer = found->second->layers().find(linear->path());
    if (layer != found->second->layers().end()) linear->drop_adapter(layer->second.get());
  }
  adapters_.erase(found);
}

void Model::set_active_adapters(const std::vector<ActiveAdapter>& active) {
  if (std::any_of(linears_.begin(), linears_.end(), [](const auto& l) { return l->is_merged(); })) {
    fail("set_active_adapters", "adapters are merged into the weights; unmerge them first");
  }
  for (const ActiveAdapter& one : active) {
    if (!std::isfinite(one.weight)) {
      fail("set_active_adapters", "the weight of \"" + one.name + "\" must be finite");
    }
    if (adapters_.contains(one.name)) continue;
    std::string known;
    for (const auto& [name, adapter] : adapters_) known += (known.empty() ? "" : ", ") + name;
    fail("set_active_adapters", "no adapter is named \"" + one.name +
                                    "\"; there are: " + (known.empty() ? "none" : known));
  }
  for (const auto& linear : linears_) {
    std::vector<WeightedLora> layers;
    for (const ActiveAdapter& one : active) {
      const auto& by_path = adapters_.at(one.name)->layers();
      const auto layer = by_path.find(linear->path());
      if (layer != by_path.end()) layers.push_back({layer->second, one.weight});
    }
    linear->set_adapters(std::move(layers));
  }
}

void Model::merge_adapters() {
  for (const auto& linear : linears_) linear->merge();
}

void Model::unmerge_adapters() {
  for (const auto& linear : linears_) linear->unmerge();
}

}  // namespace wick

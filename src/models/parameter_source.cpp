#include "models/parameter_source.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "ops/layouts.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/random.hpp"

namespace wick {

namespace {

// Names of long ago for the same tensors.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kOldNames{
    {{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}}};

constexpr std::size_t kNamesInMessage = 5;

bool ends_with_any(const std::string& name, const std::vector<std::string>& endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](const std::string& ending) { return name.ends_with(ending); });
}

}  // namespace

StoredParameters::StoredParameters(Weights weights, LoadOptions options, std::string prefix,
                                   std::vector<std::string> ignored)
    : weights_(std::move(weights)),
      options_(options),
      prefix_(std::move(prefix)),
      ignored_(std::move(ignored)) {
  if (!options_.dtype && options_.compute_dtype && is_half(*options_.compute_dtype)) {
    options_.dtype = options_.compute_dtype;
  }
}

std::string StoredParameters::stored_name(const std::string& name) const {
  std::string full = prefix_ + name;
  if (weights_.contains(full)) return full;
  for (const auto& [modern, old] : kOldNames) {
    if (!full.ends_with(modern)) continue;
    std::string alias = full.substr(0, full.size() - modern.size()) + std::string(old);
    if (weights_.contains(alias)) return alias;
  }
  const std::string folder =
      weights_.files().empty() ? "" : weights_.files()[0].path().parent_path().string();
  throw Error(ErrorKind::kArgument, "load_model",
              folder + ": tensor " + full + " is missing; the configuration asks for it");
}

Tensor StoredParameters::take(const std::string& name, const Shape& shape, ParameterKind) {
  const std::string stored = stored_name(name);
  const std::string place = weights_.file_of(stored).string() + ": tensor " + stored;
  const Tensor tensor = weights_.tensor(stored);
  if (!(tensor.shape() == shape)) {
    throw Error(ErrorKind::kShape, "load_model",
                place + " must be " + to_string(shape) + " by the configuration, the file has " +
                    to_string(tensor.shape()));
  }
  if (!is_floating(tensor.dtype())) {
    throw Error(ErrorKind::kDtype, "load_model",
                place + " must be f32, f16 or bf16, the file has " +
                    std::string(to_string(tensor.dtype())));
  }
  taken_.insert(stored);
  const Tensor held = options_.dtype ? cast(tensor, *options_.dtype) : tensor;
  // A file may hold a tensor at an odd address; ops would copy such a weight in every call.
  return detail::share_or_move(detail::aligned(held), options_.device);
}

void StoredParameters::check_all_taken() const {
  std::vector<std::string> extra;
  for (const std::string& name : weights_.names()) {
    if (!taken_.contains(name) && !ends_with_any(name, ignored_)) extra.push_back(name);
  }
  if (extra.empty()) return;
  std::string names;
  for (std::size_t i = 0; i < std::min(extra.size(), kNamesInMessage); ++i) {
    names += (i == 0 ? "" : ", ") + extra[i];
  }
  if (extra.size() > kNamesInMessage) {
    names += " and " + std::to_string(extra.size() - kNamesInMessage) + " more";
  }
  throw Error(
      ErrorKind::kArgument, "load_model",
      weights_.file_of(extra[0]).string() + ": the configuration has no place for tensor " + names);
}

Tensor FreshParameters::take(const std::string&, const Shape& shape, ParameterKind kind) {
  const RandomKey key{.seed = seed_, .offset = taken_++ << 36};
  switch (kind) {
    case ParameterKind::kNorm:
      return Tensor::full(shape, 1, dtype_, device_);
    case ParameterKind::kBias:
      return Tensor::zeros(shape, dtype_, device_);
    case ParameterKind::kWeight:
      break;
  }
  return random_normal(shape, dtype_, key, 0, initializer_range_, device_);
}

}  // namespace wick

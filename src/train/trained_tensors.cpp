#include "train/trained_tensors.hpp"

#include <fmt/format.h>

#include <string>

#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/io/safetensors.hpp"
#include "wick/ops/move.hpp"

namespace wick::detail {

namespace {

[[noreturn]] void refuse(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "train", rule);
}

}  // namespace

NamedTensors read_tensors(const std::filesystem::path& path, const NamedTensors& targets) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  NamedTensors stored;
  for (const auto& [name, target] : targets) {
    if (!file.contains(name)) refuse(path.string() + ": tensor " + name + " is missing");
    stored.emplace_back(name, file.tensor(name));
    const Tensor& found = stored.back().second;
    if (found.shape() == target.shape() && found.dtype() == target.dtype()) continue;
    refuse(fmt::format("{}: tensor {} must be {} {}, the file has {} {}", path.string(), name,
                       to_string(target.dtype()), to_string(target.shape()),
                       to_string(found.dtype()), to_string(found.shape())));
  }
  if (file.tensors().size() != targets.size()) {
    refuse(fmt::format("{} has {} tensors, but {} are trained", path.string(),
                       file.tensors().size(), targets.size()));
  }
  return stored;
}

void overwrite(const NamedTensors& targets, const NamedTensors& values) {
  const NoGradGuard no_gradient;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    copy_(targets[i].second, values[i].second.to(targets[i].second.device()));
  }
}

}  // namespace wick::detail

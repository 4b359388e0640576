#include "backends/mps/kernel_library.hpp"

#include <algorithm>
#include <functional>
#include <mutex>

#include "backends/mps/kernel_sources.hpp"
#include "backends/mps/mps_stream.hpp"
#include "base/check.hpp"
#include "wick/base/error.hpp"

namespace wick::mps {

KernelId::KernelId(std::string_view the_family, std::string_view the_function,
                   std::initializer_list<std::uint32_t> values)
    : family(the_family), function(the_function), num_constants(values.size()) {
  detail::check(values.size() <= kMostConstants, "too many function constants");
  std::ranges::copy(values, constants.begin());
}

std::size_t KernelLibrary::Hash::operator()(const KernelId& id) const noexcept {
  constexpr std::size_t kFactor = 0x9E3779B97F4A7C15;
  std::size_t hash = std::hash<std::string_view>{}(id.function);
  for (std::size_t i = 0; i < id.num_constants; ++i) hash = (hash ^ id.constants[i]) * kFactor;
  return hash;
}

const apple::metal::ComputePipeline& KernelLibrary::pipeline(const apple::metal::Device& device,
                                                             const KernelId& id) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = pipelines_.find(id); found != pipelines_.end()) return found->second;
  }
  const std::unique_lock lock(mutex_);
  if (const auto found = pipelines_.find(id); found != pipelines_.end()) return found->second;
  try {
    apple::metal::FunctionConstants constants;
    for (std::uint32_t i = 0; i < id.num_constants; ++i) constants.set(i, id.constants[i]);
    const auto function = library(device, id.family).function(id.function, constants);
    return pipelines_.emplace(id, device.pipeline(function)).first->second;
  } catch (const Error& error) {
    throw Error(ErrorKind::kBackend, std::string(OpScope::current()),
                "the kernel " + std::string(id.function) + " of " + std::string(id.family) +
                    ".metal cannot be made: " + error.rule());
  }
}

// Floating arithmetic as IEEE 754 has it: NaN and infinities are values that ops have to keep.
const apple::metal::Library& KernelLibrary::library(const apple::metal::Device& device,
                                                    std::string_view family) {
  if (const auto found = libraries_.find(family); found != libraries_.end()) return found->second;
  for (const KernelSource& source : kernel_sources()) {
    if (source.family != family) continue;
    return libraries_
        .emplace(std::string(family),
                 device.library(source.text, {.fast_math = false, .macros = {}}))
        .first->second;
  }
  detail::throw_internal("there is no such family of Metal kernels");
}

std::vector<std::string> KernelLibrary::function_names(const apple::metal::Device& device,
                                                       std::string_view family) {
  const std::unique_lock lock(mutex_);
  return library(device, family).function_names();
}

}  // namespace wick::mps

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "wick/apple/metal.hpp"

namespace wick::mps {

/// Names a pipeline: a kernel of a family's source, with values for its function constants 0, 1, 2, … (all of type uint).
/// The names are literals.
struct KernelId {
  static constexpr std::size_t kMostConstants = 12;

  std::string_view family;
  std::string_view function;
  std::array<std::uint32_t, kMostConstants> constants{};
  std::size_t num_constants = 0;

  KernelId(std::string_view family, std::string_view function,
           std::initializer_list<std::uint32_t> values = {});
  friend bool operator==(const KernelId&, const KernelId&) = default;
};

/// The kernels of a device: each family's source is compiled when its first kernel is asked for, each pipeline is made
/// once. May be used by several threads.
class KernelLibrary {
 public:
  /// The pipeline. Throws Error kBackend, naming op and kernel, when Metal refuses its source or the kernel.
  const apple::metal::ComputePipeline& pipeline(const apple::metal::Device& device,
                                                const KernelId& id);

  /// The names of the kernels of a family; compiles it when need be.
  std::vector<std::string> function_names(const apple::metal::Device& device,
                                          std::string_view family);

 private:
  struct Hash {
    std::size_t operator()(const KernelId& id) const noexcept;
  };

  const apple::metal::Library& library(const apple::metal::Device& device, std::string_view family);

  std::shared_mutex mutex_;
  std::map<std::string, apple::metal::Library, std::less<>> libraries_;
  std::unordered_map<KernelId, apple::metal::ComputePipeline, Hash> pipelines_;
};

}  // namespace wick::mps

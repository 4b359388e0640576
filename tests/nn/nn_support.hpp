#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "harness/error_of.hpp"
#include "harness/temp_folder.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/io/safetensors.hpp"
#include "wick/ops/move.hpp"

namespace wick::test {

inline void write_text(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// Changes the object in a JSON file.
inline void edit_json(const std::filesystem::path& path,
                      const std::function<void(detail::Json&)>& edit) {
  detail::Json json = detail::read_json_file(path);
  edit(json);
  write_text(path, detail::to_text(json));
}

/// All tensors of a safetensors file, in memory of their own.
inline NamedTensors read_all(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  NamedTensors tensors;
  for (const auto& [name, info] : file.tensors()) {
    const Tensor stored = file.tensor(name);
    Tensor copy = Tensor::empty(stored.shape(), stored.dtype());
    copy_(copy, stored);
    tensors.emplace_back(name, copy);
  }
  return tensors;
}

/// Changes the tensors of a safetensors file.
inline void edit_tensors(const std::filesystem::path& path,
                         const std::function<void(NamedTensors&)>& edit) {
  NamedTensors tensors = read_all(path);
  edit(tensors);
  save_safetensors(path, tensors);
}

inline Tensor& tensor_named(NamedTensors& tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found == tensors.end()) throw std::out_of_range(std::string(name));
  return found->second;
}

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline std::vector<float> floats(const Tensor& tensor) {
  const NoGradGuard no_gradient;
  return cast(tensor, DType::kF32).to_vector<float>();
}

/// Largest absolute difference; NaN counts as infinite, as do unequal sizes.
inline double max_error(const std::vector<float>& got, const std::vector<float>& expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i]));
    if (!(error <= worst))
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  }
  return worst;
}
inline double max_error(const Tensor& got, const Tensor& expected) {
  return max_error(floats(got), floats(expected));
}

}  // namespace wick::test

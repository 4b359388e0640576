#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "wick/io/safetensors.hpp"

namespace wick::cli {

/// The numbers that a reference library computed, read as double whatever they are stored as.
class ExpectedValues {
 public:
  explicit ExpectedValues(const std::filesystem::path& path) : file_(SafetensorsFile::open(path)) {}

  bool contains(const std::string& name) const { return file_.contains(name); }
  /// Names that begin with `prefix`, without it.
  std::vector<std::string> names_after(const std::string& prefix) const;
  /// Throws Error kArgument when there is no such tensor.
  std::vector<double> values(const std::string& name) const;
  /// As stored, for ids.
  Tensor tensor(const std::string& name) const { return file_.tensor(name); }
  std::vector<std::int64_t> ids(const std::string& name) const {
    return file_.tensor(name).to_vector<std::int64_t>();
  }

 private:
  SafetensorsFile file_;
};

/// A floating tensor's elements as double.
std::vector<double> as_doubles(const Tensor& tensor);
/// Largest absolute difference; NaN when an element is NaN, infinity when the sizes differ.
double max_abs_error(const std::vector<double>& got, const std::vector<double>& expected);
/// ‖got − expected‖ / ‖expected‖ (1e-12 at least below the line).
double relative_norm_error(const std::vector<double>& got, const std::vector<double>& expected);
/// |got − expected| / |expected|.
double relative_error(double got, double expected);

}  // namespace wick::cli

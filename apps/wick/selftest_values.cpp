#include "selftest_values.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"

namespace wick::cli {

namespace {

// Tensors have no 64-bit floating type; a reference file may.
std::vector<double> read_f64(const std::filesystem::path& path, const TensorInfo& info) {
  std::vector<double> values(info.num_bytes / sizeof(double));
  std::vector<char> bytes(info.num_bytes);
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(info.offset));
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file) throw Error(ErrorKind::kIo, "selftest", path.string() + ": cannot be read");
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

std::vector<std::string> ExpectedValues::names_after(const std::string& prefix) const {
  std::vector<std::string> names;
  for (const auto& [name, info] : file_.tensors()) {
    if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
  }
  return names;
}

std::vector<double> ExpectedValues::values(const std::string& name) const {
  const auto found = file_.tensors().find(name);
  if (found != file_.tensors().end() && found->second.dtype == "F64") {
    return read_f64(file_.path(), found->second);
  }
  return as_doubles(file_.tensor(name));
}

std::vector<double> as_doubles(const Tensor& tensor) {
  const std::vector<float> values = cast(tensor, DType::kF32).to_vector<float>();
  return {values.begin(), values.end()};
}

double max_abs_error(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]);
    if (!(error <= largest)) largest = error;
    if (std::isnan(error)) return error;
  }
  return largest;
}

double relative_norm_error(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(norm), 1e-12);
}

double relative_error(double got, double expected) {
  return std::abs(got - expected) / std::max(std::abs(expected), 1e-12);
}

}  // namespace wick::cli

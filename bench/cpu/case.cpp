#include "case.hpp"

#include <algorithm>
#include <stdexcept>

#include "wick/base/float16.hpp"

namespace wick::bench {

std::int64_t Case::size(std::size_t i) const {
  if (i >= sizes.size()) throw std::invalid_argument(op + ": a size is missing");
  return sizes[i];
}

Case parse_case(const std::vector<std::string>& words, std::size_t first) {
  if (words.size() < first + 2) throw std::invalid_argument("a case is: op dtype sizes");
  Case result{.op = words[first], .dtype = words[first + 1], .sizes = {}};
  if (result.dtype != "f32" && result.dtype != "bf16") {
    throw std::invalid_argument("dtype must be f32 or bf16, got " + result.dtype);
  }
  for (std::size_t i = first + 2; i < words.size(); ++i) {
    const std::int64_t size = std::stoll(words[i]);
    if (size < 1) throw std::invalid_argument("sizes must be at least 1, got " + words[i]);
    result.sizes.push_back(size);
  }
  return result;
}

float input_value(std::uint64_t i, std::uint64_t seed) {
  constexpr std::uint64_t kLow = 0xFFFFFFFF;
  std::uint64_t h = (i * 2654435761U + seed * 2654435769U) & kLow;
  h ^= h >> 15;
  h = (h * 2246822519U) & kLow;
  h ^= h >> 13;
  return static_cast<float>(h >> 8) / 8388608.0F - 1.0F;
}

std::vector<float> input(std::int64_t count, std::uint64_t seed, float scale,
                         const std::string& dtype) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = input_value(i, seed) * scale;
    values[i] = dtype == "bf16" ? static_cast<float>(BFloat16(value)) : value;
  }
  return values;
}

std::vector<double> probes(const Matrix& result) {
  std::vector<double> sums;
  for (int probe = 0; probe < kProbes; ++probe) {
    const std::vector<float> factors = input(result.columns, kProbe + probe, 1, "f32");
    for (std::int64_t row = 0; row < result.rows; ++row) {
      double sum = 0;
      for (std::int64_t i = 0; i < result.columns; ++i) {
        sum +=
            static_cast<double>(factors[static_cast<std::size_t>(i)]) *
            static_cast<double>(result.values[static_cast<std::size_t>(row * result.columns + i)]);
      }
      sums.push_back(sum);
    }
  }
  return sums;
}

}  // namespace wick::bench

#pragma once

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cases/layout_cases.hpp"
#include "reference/philox_ref.hpp"
#include "wick/ops/random.hpp"

namespace wick::testing {

/// What a case draws.
struct Draw {
  std::uint64_t seed = 20240229;
  std::uint64_t offset = 0;
  std::int64_t base = 0;  ///< the value of offset_base
  bool has_base = false;  ///< whether the key has an offset_base
};

inline RandomKey key_of(const Draw& draw, const Tensor& base) {
  return {.seed = draw.seed, .offset = draw.offset, .offset_base = draw.has_base ? base : Tensor()};
}

inline reference::PhiloxStream stream_of(const Draw& draw) {
  const std::uint64_t base = draw.has_base ? static_cast<std::uint64_t>(draw.base) : 0;
  return {.seed = draw.seed, .first = draw.offset + base};
}

/// The operand that a key's offset_base is taken from.
inline Input base_input(const Draw& draw) {
  return {.name = "offset_base",
          .shape = {},
          .values = constant(static_cast<double>(draw.base)),
          .fixed_dtype = {DType::kI64},
          .differentiable = false};
}

/// Keys whose numbers differ in every word of seed and counter, or cross from one word to the next.
inline std::vector<std::pair<std::string, Draw>> named_draws() {
  constexpr std::uint64_t kWord = std::uint64_t{1} << 32;
  return {
      {"seed_0", {.seed = 0}},
      {"seed_high_word", {.seed = 7 * kWord}},
      {"seed_largest", {.seed = std::numeric_limits<std::uint64_t>::max()}},
      {"offset_5", {.offset = 5}},
      {"offset_crosses_words", {.offset = kWord - 3}},
      {"offset_high_word", {.offset = 3 * kWord + 1}},
      {"base_0", {.offset = 9, .base = 0, .has_base = true}},
      {"base_1000", {.offset = 9, .base = 1000, .has_base = true}},
      {"base_crosses_words", {.offset = kWord - 9, .base = 7, .has_base = true}},
      {"base_high_word", {.offset = 2, .base = std::int64_t{5} << 33, .has_base = true}},
  };
}

/// What every op with a key refuses about its offset_base. `run` draws with a key on the CPU.
inline std::vector<ErrorCase> key_errors(const std::string& op,
                                         const std::function<void(const RandomKey&)>& run) {
  const auto with_base = [run](const Shape& shape, DType dtype, Device device) {
    return [=] { run({.seed = 1, .offset_base = Tensor::zeros(shape, dtype, device)}); };
  };
  return {
      {"base_shape",
       ErrorKind::kShape,
       {op, "offset_base [1] i64@cpu"},
       with_base({1}, DType::kI64, kCpuDevice)},
      {"base_dtype",
       ErrorKind::kDtype,
       {op, "offset_base [] i32@cpu"},
       with_base({}, DType::kI32, kCpuDevice)},
      {"base_device",
       ErrorKind::kDevice,
       {op, "offset_base [] i64@null"},
       with_base({}, DType::kI64, kNullDevice)},
  };
}

}  // namespace wick::testing

#include "text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "base/number.hpp"
#include "base/platform.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"

namespace wick::cli {

namespace {

[[noreturn]] void fail(const std::string& rule) { throw Error(ErrorKind::kArgument, "wick", rule); }

}  // namespace

double parse_number(const std::string& text, const std::string& what) {
  double value = 0;
  if (!detail::read_number(text, value)) fail(what + ": \"" + text + "\" is not a number");
  return value;
}

std::optional<DType> parse_dtype(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, DType>, 6> kNames{{{"f32", DType::kF32},
                                                                      {"float32", DType::kF32},
                                                                      {"bf16", DType::kBF16},
                                                                      {"bfloat16", DType::kBF16},
                                                                      {"f16", DType::kF16},
                                                                      {"float16", DType::kF16}}};
  if (name == "auto") return std::nullopt;
  for (const auto& [known, dtype] : kNames) {
    if (known == name) return dtype;
  }
  fail("dtype \"" + name + "\" is not one of auto, f32, bf16, f16");
}

ComputeOptions parse_gradient_checkpointing(const std::string& name) {
  if (name == "none" || name == "false") return {.selective_checkpointing = false};
  if (name == "auto" || name == "selective") return {};
  if (name == "full" || name == "true") {
    return {.checkpointed_layers = std::numeric_limits<std::int32_t>::max()};
  }
  fail("gradient checkpointing \"" + name + "\" is not one of auto, none, selective, full");
}

std::int64_t parse_bytes(const std::string& text) {
  std::size_t digits = 0;
  while (digits < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[digits])) != 0 || text[digits] == '.')) {
    ++digits;
  }
  std::string unit = text.substr(digits);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::pair<std::string_view, double>, 11> kUnits{{{"", 1},
                                                                        {"b", 1},
                                                                        {"k", 0x1p10},
                                                                        {"kib", 0x1p10},
                                                                        {"kb", 1e3},
                                                                        {"m", 0x1p20},
                                                                        {"mib", 0x1p20},
                                                                        {"mb", 1e6},
                                                                        {"g", 0x1p30},
                                                                        {"gib", 0x1p30},
                                                                        {"gb", 1e9}}};
  for (const auto& [name, factor] : kUnits) {
    if (name == unit && digits > 0) {
      const double bytes = parse_number(text.substr(0, digits), "size") * factor;
      if (bytes < 0x1p62) return static_cast<std::int64_t>(bytes);
    }
  }
  fail("\"" + text + "\" is not a size such as 800MiB or 2GB");
}

std::string readable_bytes(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value < 0x1p20) return fmt::format("{:.1f} KiB", value / 0x1p10);
  if (value < 0x1p30) return fmt::format("{:.1f} MiB", value / 0x1p20);
  return fmt::format("{:.2f} GiB", value / 0x1p30);
}

std::string readable_seconds(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string shell_line(const std::vector<std::string>& words) {
  constexpr std::string_view kPlain = "+-./0123456789:=@_,";
  std::string line;
  for (const std::string& word : words) {
    const bool is_plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
      return std::isalpha(static_cast<unsigned char>(c)) != 0 ||
             kPlain.find(c) != std::string_view::npos;
    });
    std::string quoted;
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += (line.empty() ? "" : " ") + (is_plain ? word : "'" + quoted + "'");
  }
  return line;
}

std::int64_t peak_memory_bytes() { return detail::peak_memory_bytes(); }

std::int64_t peak_memory_bytes(Device device) {
  return device == kCpuDevice ? peak_memory_bytes() : memory_stats(device).peak_bytes;
}

}  // namespace wick::cli

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/error_of.hpp"
#include "harness/temp_folder.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/dataset.hpp"

namespace wick::test {

inline Tokenizer fixture_tokenizer(const std::string& name) {
  return Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name);
}

inline std::vector<std::int32_t> ids_of(const Sample& sample) {
  return {sample.ids.begin(), sample.ids.end()};
}

/// The marks as text: "0011".
inline std::string marks_of(const Sample& sample) {
  std::string text;
  for (const std::uint8_t mark : sample.is_target) text += mark != 0 ? '1' : '0';
  return text;
}

inline std::vector<std::int32_t> joined(std::span<const std::int32_t> a,
                                        std::span<const std::int32_t> b) {
  std::vector<std::int32_t> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

}  // namespace wick::test

#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wick/base/error.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/dataset.hpp"

namespace wick::test {

/// A folder for the files of one test, removed at its end.
class TempFolder {
 public:
  TempFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() / ("wick-" + std::to_string(::getpid()) + "-" +
                                                      test->test_suite_name() + "-" + test->name());
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline Tokenizer fixture_tokenizer(const std::string& name) {
  return Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name);
}

/// Runs `call`, which must throw an Error, and returns its kind and text: "parse: train.jsonl:3: …", without `folder`.
inline std::string error_of(const auto& call, const std::filesystem::path& folder = "/nowhere") {
  try {
    call();
  } catch (const Error& error) {
    std::string text = std::string(to_string(error.kind())) + ": " + error.what();
    const std::string prefix = folder.string() + "/";
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) {
      text.erase(at, prefix.size());
    }
    return text;
  }
  return "no error";
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

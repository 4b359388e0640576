#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "wick/base/error.hpp"

namespace wick::test {

/// One bit of a file.
struct BitFlip {
  std::size_t byte = 0;
  int bit = 0;
};

/// About `most` bits of a file of `size` bytes: all of them where there are no more, one of every byte where there are no
/// more bytes, else spread evenly. The same every time.
inline std::vector<BitFlip> bit_flips(std::size_t size, std::size_t most) {
  std::vector<BitFlip> flips;
  if (size * 8 <= most) {
    for (std::size_t i = 0; i < size * 8; ++i) flips.push_back({i / 8, static_cast<int>(i % 8)});
    return flips;
  }
  const std::size_t count = std::min(size, most);
  // 5 and 8 have no common divisor: every bit gets its turn.
  for (std::size_t i = 0; i < count; ++i) {
    flips.push_back({i * size / count, static_cast<int>(i * 5 % 8)});
  }
  return flips;
}

/// How often a damaged file was loaded all the same, and how often it was refused.
struct FlipOutcome {
  int loaded = 0;
  int refused = 0;
};

inline long peak_resident_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/// Runs `load` on a file with one bit flipped at a time. Each time it must return, or throw an Error that has one of
/// `names` in its text; all of it must take no more memory than a file of this size can need.
inline FlipOutcome load_with_bit_flips(const std::filesystem::path& path, std::size_t most,
                                       const std::vector<std::string>& names,
                                       const std::function<void()>& load) {
  constexpr long kMostKilobytes = 512 << 10;
  std::ifstream whole(path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(whole), {}};
  EXPECT_FALSE(content.empty()) << path;
  const long before = peak_resident_kilobytes();
  FlipOutcome outcome;
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte).flush();
    EXPECT_TRUE(file.good()) << path;
  };
  for (const BitFlip& flip : bit_flips(content.size(), most)) {
    SCOPED_TRACE(path.filename().string() + ": byte " + std::to_string(flip.byte) + ", bit " +
                 std::to_string(flip.bit));
    put(flip.byte, static_cast<char>(content[flip.byte] ^ (1 << flip.bit)));
    try {
      load();
      ++outcome.loaded;
    } catch (const Error& error) {
      ++outcome.refused;
      const std::string_view text = error.what();
      EXPECT_TRUE(std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return text.find(name) != std::string_view::npos;
      })) << text;
      EXPECT_NE(error.kind(), ErrorKind::kInternal) << text;
    } catch (const std::exception& other) {
      ADD_FAILURE() << "not an Error: " << other.what();
    }
    put(flip.byte, content[flip.byte]);
  }
  EXPECT_LT(peak_resident_kilobytes() - before, kMostKilobytes);
  load();  // the file is whole again
  return outcome;
}

}  // namespace wick::test

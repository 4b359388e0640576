// Runs a fuzz target on its seeds, on each of them cut short, and with bits flipped: what every build can check.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "fuzz/fuzz_support.hpp"

namespace wick::test {

namespace {

constexpr int kMutants = 50;

std::vector<std::filesystem::path> seeds() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(WICK_FUZZ_CORPUS, error)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void run(const std::string& input) {
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
}

TEST(Corpus, HasSeeds) { EXPECT_GE(seeds().size(), 5U) << "in " << WICK_FUZZ_CORPUS; }

class Seed : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(Seed, Runs) { run(read(GetParam())); }

TEST_P(Seed, RunsChanged) {
  const std::string whole = read(GetParam());
  std::mt19937 random(1);
  for (int i = 0; i < kMutants && !whole.empty(); ++i) {
    run(whole.substr(0, random() % whole.size()));
    std::string flipped = whole;
    flipped[random() % whole.size()] ^= static_cast<char>(1U << (random() % 8));
    run(flipped);
  }
}

INSTANTIATE_TEST_SUITE_P(Corpus, Seed, ::testing::ValuesIn(seeds()), [](const auto& seed) {
  std::string name = seed.param.filename().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});
// An empty corpus is what HasSeeds reports.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Seed);

}  // namespace

}  // namespace wick::test

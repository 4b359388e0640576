#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "backends/mps/kernel_sources.hpp"
#include "mps/mps_support.hpp"

// Host and shader know kernels by their names alone.

namespace wick::test {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::set<std::string> literals_in(const std::string& text) {
  static const std::regex literal("\"([a-z][a-z0-9_]*)\"");
  std::set<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), literal);
       it != std::sregex_iterator(); ++it) {
    found.insert((*it)[1]);
  }
  return found;
}

// Everything that the backend's C++ says between quotes, and in particular inside of {"family", …}.
struct HostNames {
  std::set<std::string> all;
  std::set<std::pair<std::string, std::string>> kernels;
};
HostNames host_names() {
  static const std::regex id("\\{\"([a-z_]+)\",([^{};]*)");
  HostNames names;
  std::set<std::string> families;
  for (const auto& source : mps::kernel_sources()) families.emplace(source.family);
  const std::filesystem::path folder(WICK_TEST_SOURCES "/backends/mps");
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
    if (file.path().extension() != ".cpp" && file.path().extension() != ".hpp") continue;
    const std::string text = text_of(file.path());
    names.all.merge(literals_in(text));
    for (auto it = std::sregex_iterator(text.begin(), text.end(), id); it != std::sregex_iterator();
         ++it) {
      if (!families.contains((*it)[1])) continue;
      for (const std::string& name : literals_in((*it)[2])) names.kernels.emplace((*it)[1], name);
    }
  }
  return names;
}

TEST(KernelNames, WhatTheHostNamesIsThereAndWhatIsThereHasAUse) {
  const HostNames host = host_names();
  EXPECT_GE(host.kernels.size(), 20U);
  mps::KernelLibrary library;
  const auto device = apple::metal::Device::system_default();
  for (const auto& source : mps::kernel_sources()) {
    const std::string family(source.family);
    const auto there = library.function_names(*device, family);
    EXPECT_FALSE(there.empty()) << family;
    for (const std::string& name : there) {
      EXPECT_TRUE(host.all.contains(name)) << family << ".metal has " << name << " for nobody";
    }
    for (const auto& [of, name] : host.kernels) {
      if (of != family) continue;
      EXPECT_TRUE(std::ranges::count(there, name) == 1) << family << ".metal has no " << name;
    }
  }
}

}  // namespace
}  // namespace wick::test

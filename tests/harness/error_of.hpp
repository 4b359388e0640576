#pragma once

#include <filesystem>
#include <string>

#include "wick/base/error.hpp"

namespace wick::test {

/// Runs `call`, which must throw an Error, and returns its kind and text: "parse: config.json: …", without `folder`.
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

}  // namespace wick::test

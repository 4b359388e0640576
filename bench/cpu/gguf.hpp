#pragma once

#include <filesystem>

#include "case.hpp"

namespace wick::bench {

/// The model and the adapter of a case "decode" as files that llama.cpp reads. They are gone with this object.
class GgufFiles {
 public:
  /// Writes both. Throws std::runtime_error when the folder of temporary files takes none.
  explicit GgufFiles(const Case& which);
  ~GgufFiles();
  GgufFiles(const GgufFiles&) = delete;
  GgufFiles& operator=(const GgufFiles&) = delete;

  std::filesystem::path model() const { return folder_ / "model.gguf"; }
  std::filesystem::path adapter() const { return folder_ / "adapter.gguf"; }

 private:
  std::filesystem::path folder_;
};

}  // namespace wick::bench

#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "train/sample_encoder.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/dataset.hpp"

namespace wick {

/// Reads and tokenizes on all threads; the data set does not depend on their number. Of several broken records the first
/// in the file is reported.
class DatasetReader {
 public:
  /// Keeps references.
  DatasetReader(const Tokenizer& tokenizer, const DatasetOptions& options)
      : encoder_(tokenizer, options) {}

  /// A file of JSON lines.
  Dataset read_lines(const std::filesystem::path& path) const;
  /// A file of plain text as one document.
  Dataset read_document(const std::filesystem::path& path) const;
  /// Texts in memory.
  Dataset read_texts(std::span<const std::string> texts) const;

 private:
  static void append(const detail::SampleBlock& block, Dataset& dataset);

  detail::SampleEncoder encoder_;
};

}  // namespace wick

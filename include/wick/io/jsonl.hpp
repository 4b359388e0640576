#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace wick {

/// One line of a text file.
struct Line {
  std::string_view text;     ///< without its line end; valid until the reader is gone
  std::int64_t number = 0;   ///< from 1
  std::uint64_t offset = 0;  ///< of its first byte
};

/// Reads a file line by line from mapped pages: \n and \r\n end a line, a byte order mark is skipped, the last line
/// needs no end.
class LineReader {
 public:
  /// Throws Error kIo.
  explicit LineReader(const std::filesystem::path& path);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(const LineReader&) = delete;
  LineReader& operator=(LineReader&&) noexcept;
  /// The next line, or nothing at the end.
  std::optional<Line> next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wick

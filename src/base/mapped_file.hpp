#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace wick::detail {

/// A file mapped into memory, private and copy-on-write: pages are read when touched and can be dropped by the system,
/// so a file larger than memory is no trouble; a write changes the process's copy, never the file. Nobody may
/// shorten the file while it is mapped: the system ends a process that touches pages that are gone.
class MappedFile {
  struct Private {};

 public:
  /// Throws Error kIo with the path and the system's reason; a directory or other special file is refused.
  static std::shared_ptr<MappedFile> open(const std::filesystem::path& path);
  /// For open() alone.
  MappedFile(Private, std::filesystem::path path) : path_(std::move(path)) {}
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// All bytes; empty for an empty file.
  std::span<std::byte> bytes() const noexcept { return bytes_; }
  /// As bytes(), for text.
  std::string_view text() const noexcept;
  const std::filesystem::path& path() const noexcept { return path_; }
  /// Tells the system that these bytes will not be needed soon; they are read again when touched. Only pages that lie
  /// in the range as a whole are dropped. What was written to them may be lost.
  void drop_pages(std::span<const std::byte> range) const noexcept;

 private:
  std::filesystem::path path_;
  std::span<std::byte> bytes_;
};

}  // namespace wick::detail

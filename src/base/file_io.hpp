#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace wick::detail {

/// Throws Error kIo: `<path>: <what>: <the system's reason for error_number>`.
[[noreturn]] void throw_io(const std::filesystem::path& path, std::string_view what,
                           int error_number);

/// An open file descriptor, closed at the end of its life.
class Descriptor {
 public:
  /// `open(2)`, repeated when a signal interrupts it; never inherited by child processes. Throws Error kIo, with
  /// `what` ("cannot be read", …).
  Descriptor(const std::filesystem::path& path, int flags, std::string_view what);
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const noexcept { return number_; }

 private:
  int number_;
};

/// Writes all bytes, continuing after short writes and signals. Throws Error kIo, naming `path`.
void write_all(int descriptor, std::span<const std::byte> bytes, const std::filesystem::path& path);

/// Flushes a file or folder to the disk. A file system that cannot flush folders is let off. Throws Error kIo.
void flush_to_disk(int descriptor, const std::filesystem::path& path);
/// As above, for a path.
void flush_to_disk(const std::filesystem::path& path);

}  // namespace wick::detail

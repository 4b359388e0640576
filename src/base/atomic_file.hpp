#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace wick::detail {

class Descriptor;
class TemporaryName;

/// Writes a file so that its path names either the old content or the whole new one, whenever the process dies:
/// a temporary file in the same folder, written, flushed to the disk, renamed, the folder flushed.
class AtomicFile {
 public:
  /// Opens `<path>.tmp-<pid>-<n>`. Throws Error kIo with the path and the system's reason, and when `path` is something
  /// other than an ordinary file: a folder, a device. A symbolic link is replaced, not followed.
  explicit AtomicFile(std::filesystem::path path);
  /// Removes the temporary file unless commit() succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes (buffered by the system; short writes are continued). Throws Error kIo (disk full …).
  void write(std::span<const std::byte> bytes);
  /// As above.
  void write(std::string_view text);
  /// Flushes, renames over `path` and flushes the folder. Throws Error kIo; the old file is then untouched, unless it
  /// was the folder that could not be flushed: then the new one is in place but may not outlive a power failure.
  /// After it nothing may be written.
  void commit();

 private:
  std::filesystem::path path_;
  std::unique_ptr<TemporaryName> temporary_;
  std::unique_ptr<Descriptor> file_;
};

/// AtomicFile in one call.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Makes a whole folder appear at once: the caller fills `staging()` (a new folder beside `target`), commit() flushes
/// every file in it and renames it to `target`, which must not exist then. The destructor removes what was not
/// committed. Leftovers of killed processes, `<target>.tmp-*`, are removed by remove_stale().
class AtomicFolder {
 public:
  /// Makes `<target>.tmp-<pid>-<n>`. Throws Error kIo.
  explicit AtomicFolder(std::filesystem::path target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  const std::filesystem::path& staging() const noexcept { return staging_; }
  /// Throws Error kIo.
  void commit();
  /// Removes `*.tmp-<pid>-<n>` entries of `folder` whose process no longer runs on this machine; those of this process
  /// stay while their object lives. What cannot be removed is left there.
  static void remove_stale(const std::filesystem::path& folder);

 private:
  std::filesystem::path target_;
  std::unique_ptr<TemporaryName> temporary_;
  std::filesystem::path staging_;
};

}  // namespace wick::detail

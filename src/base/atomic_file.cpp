#include "base/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/file_io.hpp"
#include "base/temporary_name.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

namespace fs = std::filesystem;

// A name left by a killed process that had our number must not stop us.
constexpr int kMostAttempts = 100;

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

[[noreturn]] void throw_io(const fs::path& path, std::string_view what,
                           const std::error_code& error) {
  throw Error(ErrorKind::kIo, path.string(), fmt::format("{}: {}", what, error.message()));
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw_io(to, "cannot be put in place", error);
}

void check_target(const fs::path& path) {
  if (!path.has_filename()) throw Error(ErrorKind::kIo, path.string(), "is not the name of a file");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(ErrorKind::kIo, path.string(), "cannot be written: it is not an ordinary file");
  }
}

// "runs/" names the folder "runs".
fs::path without_final_slash(fs::path path) {
  while (!path.has_filename() && path.has_relative_path()) path = path.parent_path();
  return path;
}

void flush_folder(const fs::path& folder) {
  std::error_code error;
  fs::recursive_directory_iterator entries(folder, error);
  if (error) throw_io(folder, "cannot be read", error);
  while (entries != fs::recursive_directory_iterator()) {
    const fs::directory_entry& entry = *entries;
    if (!entry.is_symlink(error) && (entry.is_regular_file(error) || entry.is_directory(error))) {
      flush_to_disk(entry.path());
    }
    entries.increment(error);
    if (error) throw_io(folder, "cannot be read", error);
  }
  flush_to_disk(folder);
}

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  check_target(path_);
  for (int attempt = 1; file_ == nullptr; ++attempt) {
    temporary_ = std::make_unique<TemporaryName>(path_);
    std::error_code error;
    if (fs::exists(fs::symlink_status(temporary_->path(), error)) && attempt < kMostAttempts) {
      continue;
    }
    file_ = std::make_unique<Descriptor>(temporary_->path(), O_WRONLY | O_CREAT | O_EXCL,
                                         "cannot be created");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  std::error_code ignored;
  fs::remove(temporary_->path(), ignored);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  check(file_ != nullptr, "an atomic file is written after its commit");
  write_all(file_->number(), bytes, temporary_->path());
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::commit() {
  check(file_ != nullptr, "an atomic file is committed twice");
  flush_to_disk(file_->number(), temporary_->path());
  rename_or_throw(temporary_->path(), path_);
  file_.reset();
  flush_to_disk(folder_of(path_));
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicFolder::AtomicFolder(fs::path target) : target_(without_final_slash(std::move(target))) {
  if (!target_.has_filename()) {
    throw Error(ErrorKind::kIo, target_.string(), "is not the name of a folder");
  }
  for (int attempt = 1; staging_.empty(); ++attempt) {
    temporary_ = std::make_unique<TemporaryName>(target_);
    std::error_code error;
    if (fs::create_directory(temporary_->path(), error)) staging_ = temporary_->path();
    const bool is_taken = !error || error == std::errc::file_exists;
    if (staging_.empty() && (!is_taken || attempt == kMostAttempts)) {
      throw_io(temporary_->path(), "cannot be created", error);
    }
  }
}

AtomicFolder::~AtomicFolder() {
  if (temporary_ == nullptr) return;
  std::error_code ignored;
  fs::remove_all(staging_, ignored);
}

void AtomicFolder::commit() {
  check(temporary_ != nullptr, "an atomic folder is committed twice");
  flush_folder(staging_);
  std::error_code error;
  if (fs::exists(fs::symlink_status(target_, error))) {
    throw Error(ErrorKind::kIo, target_.string(), "is there already");
  }
  rename_or_throw(staging_, target_);
  temporary_.reset();
  flush_to_disk(folder_of(target_));
}

void AtomicFolder::remove_stale(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_stale_temporary(entry->path().filename().string())) stale.push_back(entry->path());
  }
  for (const fs::path& path : stale) fs::remove_all(path, error);
}

}  // namespace wick::detail

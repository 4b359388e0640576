#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace wick::detail {

/// The name `<path>.tmp-<pid>-<n>`, with an n that no other living object of this process has.
class TemporaryName {
 public:
  explicit TemporaryName(const std::filesystem::path& path);
  ~TemporaryName();
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::uint64_t serial_;
  std::filesystem::path path_;
};

/// True for a file name that ends as above and that nobody uses any more: its process has ended, or it is this one
/// (a container often gives every process the same number) and no object of it has that n.
bool is_stale_temporary(std::string_view file_name);

}  // namespace wick::detail

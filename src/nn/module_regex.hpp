#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace wick::detail {

/// A regular expression over module paths, with Python's meaning for what PEFT's users write.
class ModuleRegex {
 public:
  /// Throws Error kArgument with the pattern and the place of the mistake.
  explicit ModuleRegex(const std::string& pattern);
  /// True when the whole path matches. Throws Error kArgument when the search takes unreasonably long.
  bool matches(std::string_view path) const;
  /// What the first group matched when the whole path matches, else nothing.
  std::string first_group(std::string_view path) const;

 private:
  struct Impl;
  std::string pattern_;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace wick::detail

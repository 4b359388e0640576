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

  struct Match {
    bool matches = false;               ///< the whole path
    std::string_view first_group = {};  ///< a part of the path; empty when it took no part
  };
  /// Throws Error kArgument when the search takes unreasonably long.
  Match match(std::string_view path) const;
  /// True when the whole path matches.
  bool matches(std::string_view path) const { return match(path).matches; }

 private:
  struct Impl;
  std::string pattern_;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace wick::detail

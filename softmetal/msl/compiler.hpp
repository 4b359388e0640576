#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Metal source to a shared library for this processor, by way of C++ and clang. Results are kept on the disk.

namespace softmetal::msl {

struct CompileRequest {
  std::string source;
  std::vector<std::pair<std::string, std::string>> macros;
};

/// The text is what newLibraryWithSource: gives as its error.
class CompileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The path of the library in the cache, compiled now unless it is there. The folder is $SOFTMETAL_CACHE, or softmetal in
/// $XDG_CACHE_HOME or ~/.cache; the compiler is $SOFTMETAL_CXX or the one found when this was configured.
std::filesystem::path compile(const CompileRequest& request);

}  // namespace softmetal::msl

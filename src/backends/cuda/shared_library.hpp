#pragma once

#include <string>
#include <string_view>

namespace wick::cuda {

/// A library of CUDA's that is loaded when the first GPU is used, so that one binary also runs where
/// there is none. Stays loaded until the process ends.
class SharedLibrary {
 public:
  /// Looks for `file_name` as the loader does, then in CUDA's usual folders. Check loaded().
  explicit SharedLibrary(std::string_view file_name);

  bool loaded() const noexcept { return handle_ != nullptr; }
  /// Why it was not loaded.
  const std::string& problem() const noexcept { return problem_; }

  /// Sets `function` to the symbol of this name. Throws Error kDevice when the library lacks it.
  template <class Function>
  void find(const char* name, Function*& function) const {
    // SAFETY: the symbol of a C library has the type that its own header declares for it, which is
    // what callers pass as decltype(&name).
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;

  std::string file_name_;
  std::string problem_;
  void* handle_ = nullptr;
};

}  // namespace wick::cuda

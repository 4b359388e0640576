#include "backends/cuda/shared_library.hpp"

#include <dlfcn.h>

#include <array>

#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

// Where NVIDIA's installers put them when the loader's path does not know.
constexpr std::array<std::string_view, 2> kFolders{"/usr/local/cuda/lib64/",
                                                   "/usr/local/cuda/targets/x86_64-linux/lib/"};

}  // namespace

SharedLibrary::SharedLibrary(std::string_view file_name) : file_name_(file_name) {
  handle_ = dlopen(file_name_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ != nullptr) return;
  problem_ = dlerror();
  for (const std::string_view folder : kFolders) {
    const std::string path = std::string(folder) + file_name_;
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
  }
}

void* SharedLibrary::symbol(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "cuda", file_name_ + " lacks the function " + name);
  }
  return found;
}

}  // namespace wick::cuda

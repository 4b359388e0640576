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
  if (open(file_name_)) return;
  problem_ = dlerror();
  for (const std::string_view folder : kFolders) {
    if (open(std::string(folder) + file_name_)) return;
  }
}

bool SharedLibrary::open(const std::string& path) {
  // SAFETY: what runs as the library is loaded is NVIDIA's code, from the loader's path or from the
  // folders above; it is never unloaded, so that no pointer into it dangles.
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  return handle_ != nullptr;
}

void* SharedLibrary::symbol(const char* name) const {
  // SAFETY: the name is looked up in a library that is loaded; find() gives it its type.
  void* const found = dlsym(handle_, name);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "cuda", file_name_ + " lacks the function " + name);
  }
  return found;
}

}  // namespace wick::cuda

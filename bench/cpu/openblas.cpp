// OpenBLAS is loaded when asked for: a build needs nothing of it.

#include <dlfcn.h>

#include <array>
#include <stdexcept>
#include <string>

#include "blas.hpp"

namespace wick::bench {

namespace {

using CblasSgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*,
                            int, float, float*, int);
using GetConfig = const char* (*)();
constexpr int kRowMajor = 101;
constexpr int kNoTranspose = 111;
constexpr int kTranspose = 112;

class OpenBlas : public Engine {
 public:
  OpenBlas() : library_(open()) {
    // SAFETY: the signatures are those of OpenBLAS's cblas.h with 32-bit sizes, which libopenblas.so.0 is built with.
    sgemm_ = reinterpret_cast<CblasSgemm>(dlsym(library_, "cblas_sgemm"));
    // SAFETY: as above.
    config_ = reinterpret_cast<GetConfig>(dlsym(library_, "openblas_get_config"));
    if (sgemm_ == nullptr || config_ == nullptr)
      throw std::runtime_error("libopenblas lacks cblas_sgemm");
  }

  std::string version() const override { return config_(); }

  std::optional<Work> prepare(const Case& which) override {
    return blas_work(which, [sgemm = sgemm_](const Product& p) {
      const auto number = [](std::int64_t n) { return static_cast<int>(n); };
      sgemm(kRowMajor, p.transpose_a ? kTranspose : kNoTranspose,
            p.transpose_b ? kTranspose : kNoTranspose, number(p.M), number(p.N), number(p.K),
            p.alpha, p.a, number(p.lda), p.b, number(p.ldb), p.beta, p.c, number(p.ldc));
    });
  }

 private:
  static void* open() {
    for (const char* const name : {"libopenblas.so.0", "libopenblas.dylib"}) {
      // SAFETY: a library that this program alone asks for; it stays loaded until the end.
      if (void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    }
    throw std::runtime_error("libopenblas.so.0 cannot be loaded");
  }

  void* library_;
  CblasSgemm sgemm_ = nullptr;
  GetConfig config_ = nullptr;
};

}  // namespace

std::unique_ptr<Engine> make_openblas() { return std::make_unique<OpenBlas>(); }

}  // namespace wick::bench

#include "backends/cpu/cpu_backend.hpp"
#include "backends/null/null_backend.hpp"
#include "runtime/backend.hpp"

#if WICK_WITH_CUDA
#include "backends/cuda/cuda_backends.hpp"
#endif
#if WICK_WITH_MPS
#include "backends/mps/mps_backends.hpp"
#endif

namespace wick {

std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(cpu::make_backend());
#if WICK_WITH_CUDA
  for (auto& backend : cuda::make_backends(absent)) backends.push_back(std::move(backend));
#else
  absent.emplace_back("cuda: this build of Wick was made without it (WICK_CUDA)");
#endif
#if WICK_WITH_MPS
  for (auto& backend : mps::make_backends(absent)) backends.push_back(std::move(backend));
#else
  absent.emplace_back("mps: this build of Wick was made without it (WICK_APPLE)");
#endif
  backends.push_back(null::make_backend());
  return backends;
}

}  // namespace wick

#include "backends/cpu/cpu_backend.hpp"
#include "backends/null/null_backend.hpp"
#include "runtime/backend.hpp"

namespace wick {

std::vector<std::unique_ptr<Backend>> make_backends() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(cpu::make_backend());
  backends.push_back(null::make_backend());
  return backends;
}

}  // namespace wick

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend.hpp"

namespace wick::cuda {

/// Every usable GPU; `absent` receives why others, or all of them, are not. Needs no header of CUDA's.
std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent);

}  // namespace wick::cuda

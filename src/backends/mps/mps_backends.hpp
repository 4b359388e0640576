#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend.hpp"

namespace wick::mps {

/// The GPU that Metal knows, if there is one; `absent` receives why there is none.
std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent);

}  // namespace wick::mps

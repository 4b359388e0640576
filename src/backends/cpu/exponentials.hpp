#pragma once

#include <cstdint>

namespace wick::cpu {

/// x[i] = e^x[i] as the kernels compute it, on the active instruction set. For tests, which are built with it.
void exponentials(float* x, std::int64_t n);

}  // namespace wick::cpu

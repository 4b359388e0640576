#pragma once

#include "runtime/kernel_table.hpp"

namespace wick::null {

/// Every kernel of the catalog as one that notes its launch.
const KernelTable& kernel_table() noexcept;

}  // namespace wick::null

#pragma once

#include "runtime/kernel_table.hpp"

namespace wick::mps {

// Every kernel of the catalog. One that is not defined is a link error with its name.
#define WICK_KERNEL(id, Args) KernelStatus id(Stream& stream, const Args& args);
#include "runtime/op_catalog.def"

}  // namespace wick::mps

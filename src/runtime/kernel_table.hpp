#pragma once

#include <string_view>

#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

// Args are declared here and defined in runtime/args/, so that a change to one op's args rebuilds
// that op and not every file that launches something.
#define WICK_KERNEL(id, Args) struct Args;
#include "runtime/op_catalog.def"

template <class Args>
using KernelFunction = KernelStatus (*)(Stream&, const Args&);

/// One entry per kernel of the catalog; each backend fills it completely.
struct KernelTable {
#define WICK_KERNEL(id, Args) KernelFunction<Args> id = nullptr;
#include "runtime/op_catalog.def"
};

/// A kernel by name: what ops pass to launch().
template <class Args>
struct Kernel {
  std::string_view name;
  KernelFunction<Args> KernelTable::* entry;
};

namespace kernels {
#define WICK_KERNEL(id, Args) inline constexpr Kernel<Args> id{#id, &KernelTable::id};
#include "runtime/op_catalog.def"
}  // namespace kernels

}  // namespace wick

#pragma once

#include <filesystem>

#include "wick/models/model.hpp"

namespace wick::detail {

/// The tensors of a file, which must be those of `targets`: same names, shapes and dtype. Throws Error kIo, kParse as the
/// file's reader does, kArgument naming what differs.
NamedTensors read_tensors(const std::filesystem::path& path, const NamedTensors& targets);

/// Gives targets the values of others, in their order, and moves them to the targets' device.
void overwrite(const NamedTensors& targets, const NamedTensors& values);

}  // namespace wick::detail

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "command.hpp"

// A model for measuring: one from a folder, or one whose weights do not matter.

namespace wick::cli {

/// --model as every command has it, or --shape instead.
struct ShapedModelFlags : ModelFlags {
  std::string shape;

  /// Adds the flags of ModelFlags, --compute-dtype and --shape.
  void add_to(CLI::App& command);
  /// Loads the model or makes one of random weights; `op` is named in errors. Throws Error kArgument unless one of --model
  /// and --shape was given.
  std::shared_ptr<CausalLm> make(const std::string& op) const;
};

/// The first adapter of the model, or a fresh one of this rank on all of its linear layers, named `name`.
std::shared_ptr<LoraAdapter> adapter_of(CausalLm& model, std::int64_t rank,
                                        const std::string& name);

/// Rows of pseudorandom ids, each with the next one as its target.
MicroBatch random_batch(const CausalLm& model, std::int64_t rows, std::int64_t length);

}  // namespace wick::cli

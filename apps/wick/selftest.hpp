#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "wick/layout/device.hpp"
#include "wick/layout/dtype.hpp"

namespace wick::cli {

/// One measured error beside the largest one allowed.
struct Comparison {
  std::string subject;   ///< "qwen2-tied", "qwen2-tied/lora", "tokenizers/gpt2"
  std::string quantity;  ///< "logits", "loss of step 3", …
  double error = 0;
  double limit = 0;

  /// False for an error that is not a number.
  bool holds() const { return error <= limit; }
};

using ComparisonSink = std::function<void(const Comparison&)>;

/// How the comparisons are computed.
struct SelftestOptions {
  Device device = kCpuDevice;
  DType compute_dtype = DType::
      kF32;  ///< of activations; in 16 bits the limits are wider, and greedy ids are left out
};

/// Compares everything that Wick computes with what the reference libraries computed, for every model, adapter and
/// tokenizer of `fixtures` (see docs/selftest.md for the layout). Throws Error kIo when there are none.
void run_selftest(const std::filesystem::path& fixtures, const SelftestOptions& options,
                  const ComparisonSink& sink);

/// The comparisons of one folder of `fixtures`/models.
void compare_model(const std::filesystem::path& folder, const SelftestOptions& options,
                   const ComparisonSink& sink);
/// The comparisons of one folder of `fixtures`/tokenizers.
void compare_tokenizer(const std::filesystem::path& folder, const ComparisonSink& sink);

}  // namespace wick::cli

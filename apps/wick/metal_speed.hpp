#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "wick/apple/objc.hpp"

// What `wick selftest` asks of Metal itself; without the bindings there is nothing to ask.

namespace wick::cli {

/// One op on Metal: seconds of a call.
struct MetalTiming {
  std::string op;
  std::string shape;
  double each = 0;     ///< the op and a wait, again and again
  double batched = 0;  ///< many in one command buffer, one wait for all
  double naive = 0;    ///< a new queue, new kernels of MPS and a wait for each kernel
  double error = 0;    ///< ‖Wick's result − that of the naive way‖ / ‖the latter‖

  /// Both ways are f32: they differ by the order of their sums alone.
  static constexpr double kLimit = 1e-4;
  bool holds() const { return error <= kLimit; }
};

/// How metal_speed() measures.
struct MetalSpeedOptions {
  std::int64_t max_size =
      2048;  ///< larger sizes are left out; an op without a smaller one is measured at this one
  double sample_seconds = 0.2;  ///< about what a number is measured for
};

/// True when the device is software Metal.
bool is_software_metal();
/// The system's version, as it says it.
std::string metal_system_version();
/// Every method that Wick may send, against the running system.
std::vector<apple::MethodCheck> metal_methods();
/// Times products, LoRA layers, softmax and RMSNorm on mps; each result is given to `sink` as it comes. Answers what was
/// left out: "matmul 2048".
std::vector<std::string> metal_speed(const MetalSpeedOptions& options,
                                     const std::function<void(const MetalTiming&)>& sink);

}  // namespace wick::cli

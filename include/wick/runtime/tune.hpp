#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "wick/layout/device.hpp"

namespace wick {

/// How tune() measures.
struct TuneOptions {
  int rounds = 5;  ///< every way is measured once in each
  double sample_seconds =
      0.005;  ///< a measurement repeats the call until it has taken about as long
  std::function<double()>
      clock;  ///< seconds since some moment; the system's steady clock where there is none
};

/// The ways of a call, measured.
struct TunedCall {
  std::string kernel;  ///< "matmul"
  std::string shape;   ///< "[256,896] x [896,4864] f32", rounded up to powers of two
  std::vector<std::pair<std::string, double>>
      seconds;                     ///< each way's median for all that `work` makes of them
  std::vector<std::string> wrong;  ///< ways that are left out: they compute something else
  std::string otherwise;           ///< the way that is taken without a measurement
  std::string chosen;              ///< the way from now on
};

/// What tune() found.
struct TuneReport {
  std::vector<TunedCall> calls;
  std::filesystem::path file;  ///< where it was stored
  std::string
      note;  ///< what was wrong with the file that was there before; empty where nothing was
};

/// Runs `work`, notes which calls it makes that `device` can do in several ways, measures each way on operands of its own and
/// stores the best for this process and those to come, in the user's cache folder. A way replaces the one that is taken
/// without a measurement only where its median is 5 % below the other's best. Throws Error kUnsupported where the device
/// has nothing to choose, kIo when the result cannot be stored, and what `work` throws; nothing is stored then.
TuneReport tune(Device device, const std::function<void()>& work, const TuneOptions& options = {});

}  // namespace wick

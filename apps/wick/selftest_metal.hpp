#pragma once

#include <nlohmann/json.hpp>

#include "metal_speed.hpp"

namespace wick::cli {

/// How the parts of the self-test that are Metal's own are printed.
struct MetalReportOptions {
  MetalSpeedOptions speed;
  bool json = false;     ///< a JSON object a line
  bool verbose = false;  ///< methods that the system does not have, line by line
};

/// The methods that Wick may send against those of the system, printed. Those of another type count as failures.
nlohmann::json report_methods(const MetalReportOptions& options, int& failures);
/// Times ops, printed as they come. Results that differ from those of the naive way count as failures.
nlohmann::json report_speed(const MetalReportOptions& options, int& failures);

}  // namespace wick::cli

#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "run_log.hpp"

namespace wick::cli {

/// Everything that a run's report shows.
struct Report {
  std::string title;                                         ///< the model's name
  std::vector<std::pair<std::string, std::string>> summary;  ///< rows of the table at the top
  std::vector<StepRecord> steps;
  std::vector<EvalRecord> evaluations;
  std::vector<SampleRecord> samples;
};

/// Writes one self-contained HTML page: curves of loss (training and held-out), learning rate, throughput and memory as
/// inline SVG, and the samples side by side. Needs no network and no script. Throws Error kIo.
void write_report(const std::filesystem::path& path, const Report& report);

}  // namespace wick::cli

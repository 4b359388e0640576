#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "run_log.hpp"

namespace wick::cli {

/// Everything that a run's report shows.
struct Report {
  using Rows = std::vector<std::pair<std::string, std::string>>;

  std::string title;  ///< the model's name
  Rows summary;       ///< name and value, the most important first
  std::vector<StepRecord> steps;
  std::vector<EvalRecord> evaluations;
  std::vector<SampleRecord> samples;
  std::int64_t memory_forecast = 0;   ///< bytes; 0: none was made
  Rows settings;                      ///< flags and their values
  std::vector<std::string> commands;  ///< what to try next
};

/// The report as one self-contained HTML page, which is well-formed XML too: curves of loss (training and held-out),
/// learning rate, throughput and memory as inline SVG, and the samples side by side. Needs no network and no script.
std::string report_html(const Report& report);

/// Writes report_html(); the path names the old file or the whole new one. Throws Error kIo.
void write_report(const std::filesystem::path& path, const Report& report);

}  // namespace wick::cli

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "wick/train/trainer.hpp"

namespace wick::cli {

/// What is known of one step, for the curves.
struct StepRecord {
  std::int64_t step = 0;
  double loss = 0;
  double grad_norm = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  std::int64_t num_tokens = 0;
  std::int64_t peak_memory = 0;
  double seconds = 0;  ///< since the run began
};

/// One evaluation.
struct EvalRecord {
  std::int64_t step = 0;
  double loss = 0;
};

/// A prompt's continuation before and after.
struct SampleRecord {
  std::string prompt;
  std::string before;
  std::string after;
};

/// Follows a run: writes metrics.jsonl line by line, prints progress, keeps the curves.
class RunLog {
 public:
  struct Options {
    std::filesystem::path output_dir;
    std::int64_t logging_steps = 1;
    std::int64_t resumed_step = 0;  ///< lines of later steps are dropped from an old metrics.jsonl
    bool json = false;
  };
  /// Throws Error kIo.
  explicit RunLog(Options options);

  void start(std::int64_t total_steps) { total_steps_ = total_steps; }
  void step(const StepReport& report);
  void evaluation(const EvalReport& report);
  void saved(const std::filesystem::path& path);
  /// A line of its own for people; nothing with --json.
  void say(const std::string& text);
  /// One JSON line on the output with --json.
  void emit(const std::string& json_line) const;

  const std::vector<StepRecord>& steps() const { return steps_; }
  const std::vector<EvalRecord>& evaluations() const { return evaluations_; }
  double seconds() const;
  double tokens_per_second() const;

 private:
  void load_earlier(const std::filesystem::path& path, std::int64_t resumed_step);
  void append(const std::string& line);
  void show(const StepRecord& record);

  Options options_;
  bool is_terminal_;
  bool line_is_open_ = false;
  std::int64_t total_steps_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t own_steps_ = 0;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point step_begin_;
  std::ofstream metrics_;
  std::filesystem::path metrics_path_;
  std::vector<StepRecord> steps_;
  std::vector<EvalRecord> evaluations_;
};

}  // namespace wick::cli

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
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
  double seconds = 0;  ///< since the run began, time between its parts left out
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

/// Follows a run: writes metrics.jsonl line by line, prints progress, keeps the curves. Nothing is written before start().
class RunLog {
 public:
  struct Options {
    std::filesystem::path output_dir;
    std::int64_t logging_steps = 10;
    Device device = kCpuDevice;  ///< whose memory is told
    bool is_quiet = false;       ///< nothing is written or printed: another process does it
    bool json = false;  ///< JSON lines on standard output instead of text on standard error
  };
  explicit RunLog(Options options);

  /// Begins to count time. Of a resumed run the lines of metrics.jsonl up to `resumed_step` are kept: what came after the
  /// checkpoint happens again. Throws Error kIo.
  void start(std::int64_t total_steps, std::int64_t resumed_step);
  /// Throws Error kIo, as the next one.
  void step(const StepReport& report);
  void evaluation(const EvalReport& report);
  void saved(const std::filesystem::path& path);
  /// A line of its own for people; nothing with --json.
  void say(const std::string& text);
  /// As say(), with --json too.
  void warn(const std::string& text);
  /// One JSON line on the output with --json.
  void emit(const nlohmann::json& json) const;

  const std::vector<StepRecord>& steps() const { return steps_; }
  const std::vector<EvalRecord>& evaluations() const { return evaluations_; }
  /// Of the whole run, earlier parts included.
  double seconds() const;
  /// Of the steps of this part.
  double tokens_per_second() const;

 private:
  void load_earlier(std::int64_t resumed_step);
  void append(const nlohmann::json& json);
  void show(const StepRecord& record);
  std::string progress(const StepRecord& record) const;

  Options options_;
  bool is_terminal_;
  bool line_is_open_ = false;
  std::int64_t total_steps_ = 0;
  std::int64_t own_tokens_ = 0;
  std::int64_t own_steps_ = 0;
  double own_step_seconds_ = 0;
  double earlier_seconds_ = 0;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point step_begin_;
  std::ofstream metrics_;
  std::filesystem::path metrics_path_;
  std::vector<StepRecord> steps_;
  std::vector<EvalRecord> evaluations_;
};

}  // namespace wick::cli

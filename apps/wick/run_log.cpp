#include "run_log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "command.hpp"

namespace wick::cli {

namespace {

using detail::Json;

double seconds_between(std::chrono::steady_clock::time_point begin,
                       std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

Json to_json(const StepRecord& record) {
  return {{"step", record.step},
          {"loss", record.loss},
          {"grad_norm", record.grad_norm},
          {"learning_rate", record.learning_rate},
          {"num_tokens", record.num_tokens},
          {"tokens_per_second", record.tokens_per_second},
          {"peak_memory_bytes", record.peak_memory},
          {"seconds", record.seconds}};
}

}  // namespace

RunLog::RunLog(Options options)
    : options_(std::move(options)),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      begin_(std::chrono::steady_clock::now()),
      step_begin_(begin_) {
  metrics_path_ = options_.output_dir / "metrics.jsonl";
  std::error_code problem;
  std::filesystem::create_directories(options_.output_dir, problem);
  load_earlier(metrics_path_, options_.resumed_step);
  metrics_.open(metrics_path_, std::ios::app);
  if (!metrics_) {
    throw Error(ErrorKind::kIo, "train",
                metrics_path_.string() + " cannot be written: " + std::strerror(errno));
  }
}

// Of an earlier part of the run, what came after the checkpoint is about to happen again.
void RunLog::load_earlier(const std::filesystem::path& path, std::int64_t resumed_step) {
  std::string kept;
  if (resumed_step > 0 && std::filesystem::exists(path)) {
    LineReader lines(path);
    while (const auto line = lines.next()) {
      const Json json = Json::parse(line->text, nullptr, false);
      if (json.is_discarded() || !json.contains("step")) continue;  // cut off by a kill
      if (json["step"].get<std::int64_t>() > resumed_step) continue;
      kept += std::string(line->text) + "\n";
      if (json.contains("eval_loss")) {
        evaluations_.push_back({json["step"], json["eval_loss"]});
      } else if (json.contains("loss")) {
        steps_.push_back({json["step"], json["loss"], json["grad_norm"], json["learning_rate"],
                          json["tokens_per_second"], json["num_tokens"], json["peak_memory_bytes"],
                          json["seconds"]});
      }
    }
  }
  detail::write_file_atomically(path, kept);
}

void RunLog::append(const std::string& line) {
  metrics_ << line << '\n' << std::flush;
  if (!metrics_) {
    throw Error(ErrorKind::kIo, "train",
                metrics_path_.string() + " cannot be written: " + std::strerror(errno));
  }
  emit(line);
}

void RunLog::emit(const std::string& json_line) const {
  if (options_.json) fmt::print("{}\n", json_line);
}

double RunLog::seconds() const { return seconds_between(begin_, std::chrono::steady_clock::now()); }

double RunLog::tokens_per_second() const {
  const double time = seconds_between(begin_, step_begin_);
  return time > 0 ? static_cast<double>(tokens_) / time : 0;
}

void RunLog::step(const StepReport& report) {
  const auto now = std::chrono::steady_clock::now();
  const double time = seconds_between(step_begin_, now);
  StepRecord record{.step = report.step,
                    .loss = report.loss,
                    .grad_norm = report.grad_norm,
                    .learning_rate = report.learning_rate,
                    .num_tokens = report.num_tokens,
                    .peak_memory = peak_memory_bytes(),
                    .seconds = seconds_between(begin_, now)};
  if (time > 0) record.tokens_per_second = static_cast<double>(report.num_tokens) / time;
  step_begin_ = now;
  tokens_ += report.num_tokens;
  ++own_steps_;
  steps_.push_back(record);
  append(to_json(record).dump());
  show(record);
}

void RunLog::show(const StepRecord& record) {
  if (options_.json) return;
  const bool is_due =
      record.step == 1 || record.step == total_steps_ || record.step % options_.logging_steps == 0;
  if (!is_terminal_ && !is_due) return;
  const double per_step = record.seconds / static_cast<double>(own_steps_);
  const double left = per_step * static_cast<double>(total_steps_ - record.step);
  const std::string line = fmt::format(
      "step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  peak {}  {} left", record.step,
      total_steps_, record.loss, record.learning_rate, record.tokens_per_second,
      readable_bytes(record.peak_memory), readable_seconds(left));
  if (is_terminal_) {
    fmt::print(stderr, "\r\033[K{}{}", line, is_due ? "\n" : "");
    line_is_open_ = !is_due;
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

void RunLog::evaluation(const EvalReport& report) {
  evaluations_.push_back({report.step, report.loss});
  append(Json{{"step", report.step},
              {"eval_loss", report.loss},
              {"num_targets", report.num_targets},
              {"is_best", report.is_best}}
             .dump());
  say(fmt::format("step {}  held-out loss {:.4f}{}", report.step, report.loss,
                  report.is_best ? "  (best so far)" : ""));
  step_begin_ = std::chrono::steady_clock::now();
}

void RunLog::saved(const std::filesystem::path& path) {
  say("saved " + path.string());
  step_begin_ = std::chrono::steady_clock::now();
}

void RunLog::say(const std::string& text) {
  if (options_.json) return;
  fmt::print(stderr, "{}{}\n", line_is_open_ ? "\n" : "", text);
  line_is_open_ = false;
}

}  // namespace wick::cli

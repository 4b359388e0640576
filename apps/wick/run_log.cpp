#include "run_log.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "output.hpp"
#include "text.hpp"
#include "wick/base/error.hpp"
#include "wick/io/jsonl.hpp"

namespace wick::cli {

namespace {

using detail::Json;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
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

// A number of a line that an earlier part wrote; null stands for what is no number.
double number(const Json& json, const char* key) {
  const auto found = json.find(key);
  const bool is_there = found != json.end() && found->is_number();
  return is_there ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

std::int64_t whole(const Json& json, const char* key) {
  const double value = number(json, key);
  return std::isfinite(value) && std::abs(value) < 0x1p62 ? static_cast<std::int64_t>(value) : 0;
}

StepRecord step_of(const Json& json) {
  return {.step = whole(json, "step"),
          .loss = number(json, "loss"),
          .grad_norm = number(json, "grad_norm"),
          .learning_rate = number(json, "learning_rate"),
          .tokens_per_second = number(json, "tokens_per_second"),
          .num_tokens = whole(json, "num_tokens"),
          .peak_memory = whole(json, "peak_memory_bytes"),
          .seconds = number(json, "seconds")};
}

std::size_t terminal_width() {
  winsize size{};
  const bool is_known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : 80;
}

}  // namespace

RunLog::RunLog(Options options)
    : options_(std::move(options)),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      begin_(std::chrono::steady_clock::now()),
      step_begin_(begin_),
      metrics_path_(options_.output_dir / "metrics.jsonl") {}

void RunLog::start(std::int64_t total_steps, std::int64_t resumed_step) {
  total_steps_ = total_steps;
  begin_ = step_begin_ = std::chrono::steady_clock::now();
  if (options_.is_quiet) return;
  load_earlier(resumed_step);
  metrics_.open(metrics_path_, std::ios::app);
  if (!metrics_) {
    throw Error(ErrorKind::kIo, metrics_path_.string(),
                std::string("cannot be written: ") + std::strerror(errno));
  }
  begin_ = step_begin_ = std::chrono::steady_clock::now();
}

void RunLog::load_earlier(std::int64_t resumed_step) {
  std::string kept;
  if (resumed_step > 0 && std::filesystem::exists(metrics_path_)) {
    LineReader lines(metrics_path_);
    while (const auto line = lines.next()) {
      const Json json = Json::parse(line->text, nullptr, false);
      if (!json.is_object() || !json.contains("step")) continue;  // cut off by a kill
      if (whole(json, "step") > resumed_step) continue;
      kept += std::string(line->text) + "\n";
      if (json.contains("eval_loss")) {
        evaluations_.push_back({whole(json, "step"), number(json, "eval_loss")});
      } else if (json.contains("loss")) {
        steps_.push_back(step_of(json));
        if (std::isfinite(steps_.back().seconds)) earlier_seconds_ = steps_.back().seconds;
      }
    }
  }
  detail::write_file_atomically(metrics_path_, kept);
}

void RunLog::append(const Json& json) {
  if (options_.is_quiet) return;
  errno = 0;
  metrics_ << json_line(json) << std::flush;
  if (!metrics_) {
    throw Error(ErrorKind::kIo, metrics_path_.string(),
                std::string("cannot be written: ") + std::strerror(errno == 0 ? EIO : errno));
  }
  emit(json);
}

void RunLog::emit(const Json& json) const {
  if (!options_.json) return;
  print_out(json_line(json));
  flush_out();  // who reads along sees every line at once
}

double RunLog::seconds() const { return earlier_seconds_ + seconds_since(begin_); }

double RunLog::tokens_per_second() const {
  return own_step_seconds_ > 0 ? static_cast<double>(own_tokens_) / own_step_seconds_ : 0;
}

void RunLog::step(const StepReport& report) {
  const double time = seconds_since(step_begin_);
  StepRecord record{.step = report.step,
                    .loss = report.loss,
                    .grad_norm = report.grad_norm,
                    .learning_rate = report.learning_rate,
                    .num_tokens = report.num_tokens,
                    .peak_memory = peak_memory_bytes(options_.device),
                    .seconds = seconds()};
  if (time > 0) record.tokens_per_second = static_cast<double>(report.num_tokens) / time;
  own_tokens_ += report.num_tokens;
  own_step_seconds_ += time;
  ++own_steps_;
  steps_.push_back(record);
  append(to_json(record));
  show(record);
  step_begin_ = std::chrono::steady_clock::now();
}

std::string RunLog::progress(const StepRecord& record) const {
  const double per_step = seconds_since(begin_) / static_cast<double>(own_steps_);
  const double left = per_step * static_cast<double>(total_steps_ - record.step);
  return fmt::format("step {}/{}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  peak {}  {} left",
                     record.step, total_steps_, record.loss, record.learning_rate,
                     record.tokens_per_second, readable_bytes(record.peak_memory),
                     readable_seconds(left));
}

// A terminal has one line that changes, and one that stays for every logging step; elsewhere only those that stay.
void RunLog::show(const StepRecord& record) {
  if (options_.json || options_.is_quiet) return;
  const bool is_due =
      own_steps_ == 1 || record.step == total_steps_ || record.step % options_.logging_steps == 0;
  if (!is_terminal_) {
    if (is_due) print_note(progress(record) + "\n");
    return;
  }
  std::string line = progress(record);
  if (!is_due) line.resize(std::min(line.size(), terminal_width() - 1));  // or it would wrap
  print_note("\r\033[K" + line + (is_due ? "\n" : ""));
  line_is_open_ = !is_due;
}

void RunLog::evaluation(const EvalReport& report) {
  evaluations_.push_back({report.step, report.loss});
  append(Json{{"step", report.step},
              {"eval_loss", report.loss},
              {"num_targets", report.num_targets},
              {"is_best", report.is_best}});
  say(fmt::format("step {}/{}  held-out loss {:.4f}{}", report.step, total_steps_, report.loss,
                  report.is_best ? "  (best so far)" : ""));
  step_begin_ = std::chrono::steady_clock::now();
}

void RunLog::saved(const std::filesystem::path& path) {
  say("saved " + path.string());
  step_begin_ = std::chrono::steady_clock::now();
}

void RunLog::say(const std::string& text) {
  if (!options_.json) warn(text);
}

void RunLog::warn(const std::string& text) {
  if (options_.is_quiet) return;
  print_note((line_is_open_ ? "\r\033[K" : "") + text + "\n");
  line_is_open_ = false;
}

}  // namespace wick::cli

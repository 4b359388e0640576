#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/atomic_file.hpp"
#include "report_style.hpp"
#include "svg_chart.hpp"

namespace wick::cli {

namespace {

// The share of the run over which the strong line of the training loss is an average.
constexpr double kSmoothedShare = 0.02;
// Below so many steps every point is shown as it is.
constexpr std::size_t kSmoothedFrom = 50;

template <class Value>
std::vector<ChartPoint> points_of(const Report& report, Value value) {
  std::vector<ChartPoint> points;
  points.reserve(report.steps.size());
  for (const StepRecord& record : report.steps) {
    points.push_back({static_cast<double>(record.step), value(record)});
  }
  return points;
}

// An exponential moving average without the pull of its first value; it does not take part in gaps.
std::vector<ChartPoint> smoothed(std::vector<ChartPoint> points) {
  const double window = std::max(5.0, kSmoothedShare * static_cast<double>(points.size()));
  const double keep = 1 - 1 / window;
  double sum = 0;
  double weight = 0;
  for (ChartPoint& point : points) {
    if (!std::isfinite(point.y)) continue;
    sum = keep * sum + point.y;
    weight = keep * weight + 1;
    point.y = sum / weight;
  }
  return points;
}

std::string figure(const Chart& chart, const std::string& heading, const std::string& unit,
                   const std::string& note = {}) {
  std::string legend;
  if (chart.series.size() > 1) {
    for (const ChartSeries& series : chart.series) {
      legend += fmt::format("<span class=\"key {}\">{}</span>", series.css_class,
                            escape_html(series.name));
    }
  }
  return fmt::format(
      "<figure class=\"{}\"><figcaption><b>{}</b> "
      "<small>{}</small>{}</figcaption>\n{}{}</figure>\n",
      chart.id, escape_html(heading), escape_html(unit), legend, svg_chart(chart), note);
}

std::string loss_figure(const Report& report) {
  Chart chart{.id = "loss",
              .title = "Loss by step",
              .x_label = "step",
              .y_text = [](double value) { return fmt::format("{:.4f}", value); },
              .width = 980,
              .height = 300};
  const auto loss = points_of(report, [](const StepRecord& record) { return record.loss; });
  if (loss.size() >= kSmoothedFrom) {
    chart.series.push_back({"every step", "faint", loss});
    chart.series.push_back({"training, smoothed", "main", smoothed(loss)});
  } else {
    chart.series.push_back({"training", "main", loss, true});
  }
  if (!report.evaluations.empty()) {
    ChartSeries held_out{"held out", "second", {}, report.evaluations.size() <= 100};
    for (const EvalRecord& record : report.evaluations) {
      held_out.points.push_back({static_cast<double>(record.step), record.loss});
    }
    chart.series.push_back(std::move(held_out));
  }
  return figure(chart, "Loss", "nats per target token");
}

std::string rate_figure(const Report& report) {
  const auto points =
      points_of(report, [](const StepRecord& record) { return record.learning_rate; });
  return figure({.id = "rate",
                 .title = "Learning rate by step",
                 .x_label = "step",
                 .series = {{"learning rate", "main", points}},
                 .y_text = [](double value) { return fmt::format("{:.3g}", value); },
                 .begins_at_zero = true},
                "Learning rate", "");
}

std::string throughput_figure(const Report& report) {
  const auto points =
      points_of(report, [](const StepRecord& record) { return record.tokens_per_second; });
  Chart chart{.id = "throughput",
              .title = "Throughput by step",
              .x_label = "step",
              .y_text = [](double value) { return fmt::format("{:.0f} tokens/s", value); },
              .begins_at_zero = true};
  if (points.size() >= kSmoothedFrom) {
    chart.series.push_back({"every step", "faint", points});
    chart.series.push_back({"smoothed", "main", smoothed(points)});
  } else {
    chart.series.push_back({"throughput", "main", points});
  }
  return figure(chart, "Throughput", "tokens/s");
}

std::string norm_figure(const Report& report) {
  const auto points = points_of(report, [](const StepRecord& record) { return record.grad_norm; });
  return figure({.id = "norm",
                 .title = "Gradient norm by step",
                 .x_label = "step",
                 .series = {{"gradient norm", "main", points}},
                 .y_text = [](double value) { return fmt::format("{:.4g}", value); },
                 .begins_at_zero = true},
                "Gradient norm", "before clipping");
}

std::string memory_figure(const Report& report) {
  std::int64_t most = report.memory_forecast;
  for (const StepRecord& record : report.steps) most = std::max(most, record.peak_memory);
  const bool is_large = most >= (std::int64_t{1} << 30);
  const std::string unit = is_large ? "GiB" : "MiB";
  const double divisor = is_large ? 0x1p30 : 0x1p20;
  const auto points = points_of(report, [&](const StepRecord& record) {
    return static_cast<double>(record.peak_memory) / divisor;
  });
  Chart chart{.id = "memory",
              .title = "Peak memory by step",
              .x_label = "step",
              .series = {{"process", "main", points}},
              .y_text = [=](double value) { return fmt::format("{:.4g} {}", value, unit); },
              .begins_at_zero = true};
  if (report.memory_forecast > 0 && !points.empty()) {
    const double forecast = static_cast<double>(report.memory_forecast) / divisor;
    chart.series.push_back(
        {"forecast", "second", {{points.front().x, forecast}, {points.back().x, forecast}}});
  }
  return figure(chart, "Peak memory", unit);
}

std::string summary_list(const Report& report) {
  if (report.summary.empty()) return {};
  std::string html = "<dl class=\"summary\">\n";
  for (const auto& [name, value] : report.summary) {
    html +=
        fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name), escape_html(value));
  }
  return html + "</dl>\n";
}

std::string samples_table(const Report& report) {
  if (report.samples.empty()) return {};
  std::string html =
      "<section><h2>Samples</h2>\n<table class=\"samples\"><thead><tr><th scope=\"col\">Prompt</th>"
      "<th scope=\"col\">Before training</th><th scope=\"col\">After</th></tr></thead>\n<tbody>\n";
  const auto text = [](const std::string& words) {
    return words.empty() ? std::string("<i>nothing</i>") : escape_html(words);
  };
  for (const SampleRecord& sample : report.samples) {
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
                        text(sample.prompt), text(sample.before), text(sample.after));
  }
  return html + "</tbody></table></section>\n";
}

std::string settings_table(const Report& report) {
  if (report.settings.empty()) return {};
  std::string html = "<details><summary>Settings</summary>\n<table class=\"settings\"><tbody>\n";
  for (const auto& [name, value] : report.settings) {
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape_html(name),
                        escape_html(value));
  }
  return html + "</tbody></table></details>\n";
}

std::string commands_list(const Report& report) {
  if (report.commands.empty()) return {};
  std::string html = "<section><h2>Try next</h2>\n<pre>";
  for (const std::string& command : report.commands) html += escape_html(command) + "\n";
  return html + "</pre></section>\n";
}

}  // namespace

std::string report_html(const Report& report) {
  const std::string title = escape_html(report.title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
      "<title>{} – training report</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n"
      "<header><h1>{}</h1><p>Training report</p></header>\n",
      title, kReportStyle, title);
  html += summary_list(report);
  html += "<section class=\"charts\">\n" + loss_figure(report) + rate_figure(report) +
          norm_figure(report) + throughput_figure(report) + memory_figure(report) + "</section>\n";
  html += samples_table(report) + commands_list(report) + settings_table(report);
  return html + "<footer>Written by wick.</footer>\n</main>\n</body>\n</html>\n";
}

void write_report(const std::filesystem::path& path, const Report& report) {
  detail::write_file_atomically(path, report_html(report));
}

}  // namespace wick::cli

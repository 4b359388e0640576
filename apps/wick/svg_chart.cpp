#include "svg_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/quote.hpp"

namespace wick::cli {

namespace {

constexpr std::int64_t kColumns = 400;      // of a curve, in which points are merged
constexpr std::int64_t kHoverColumns = 80;  // that have a text of their own
constexpr double kLeft = 54;
constexpr double kRight = 14;
constexpr double kTop = 10;
constexpr double kBottom = 34;

const char* escape_of(unsigned char byte) {
  switch (byte) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return nullptr;
  }
}

bool is_finite(const ChartPoint& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

// Where a value of one axis is drawn.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;
  double to = 1;
  double operator()(double value) const {
    return from + (value - low) / (high - low) * (to - from);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

class Picture {
 public:
  explicit Picture(const Chart& chart) : chart_(chart) {
    for (const ChartSeries& series : chart.series) {
      for (const ChartPoint& point : series.points) {
        if (!is_finite(point)) continue;
        xs_.add(point.x);
        ys_.add(point.y);
      }
    }
    if (is_empty()) return;
    if (chart.begins_at_zero) ys_.add(0);
    y_ticks_ = round_ticks(ys_.low, ys_.high, 5);
    x_ = {xs_.low, xs_.high > xs_.low ? xs_.high : xs_.low + 1, kLeft, chart.width - kRight};
    y_ = {y_ticks_.front(), y_ticks_.back(), chart.height - kBottom, kTop};
  }

  bool is_empty() const { return !(xs_.low <= xs_.high); }

  std::string text() const {
    std::string svg = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{}-title {}-desc\">\n"
        "<title id=\"{}-title\">{}</title>\n<desc id=\"{}-desc\">{}</desc>\n",
        chart_.width, chart_.height, chart_.id, chart_.id, chart_.id, escape_html(chart_.title),
        chart_.id, escape_html(description()));
    svg += axes();
    for (const ChartSeries& series : chart_.series) svg += curve(series);
    svg += hover_texts();
    return svg + "</svg>\n";
  }

 private:
  std::string description() const {
    std::string text;
    for (const ChartSeries& series : chart_.series) {
      if (series.css_class == "faint") continue;
      const auto first = std::find_if(series.points.begin(), series.points.end(), is_finite);
      const auto last = std::find_if(series.points.rbegin(), series.points.rend(), is_finite);
      if (first == series.points.end()) continue;
      text += fmt::format("{}: {} at {} {}, {} at {} {}. ", series.name, chart_.y_text(first->y),
                          chart_.x_label, short_number(first->x), chart_.y_text(last->y),
                          chart_.x_label, short_number(last->x));
    }
    return text;
  }

  std::string axes() const {
    std::string svg = "<g class=\"axis\">\n";
    for (const double tick : y_ticks_) {
      const double y = y_(tick);
      svg += fmt::format("<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft,
                         chart_.width - kRight, y, y);
      svg += fmt::format("<text class=\"y\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", kLeft - 7,
                         y + 4, short_number(tick, tick_digits()));
    }
    const double bottom = chart_.height - kBottom;
    for (const double tick : x_ticks()) {
      svg += fmt::format("<text class=\"x\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x_(tick),
                         bottom + 16, short_number(tick));
    }
    svg +=
        fmt::format("<text class=\"x name\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                    (kLeft + chart_.width - kRight) / 2, bottom + 30, escape_html(chart_.x_label));
    return svg + "</g>\n";
  }

  // As many digits as tell neighbours apart.
  int tick_digits() const {
    const double largest = std::max(std::abs(y_ticks_.front()), std::abs(y_ticks_.back()));
    return std::max(
        4, static_cast<int>(std::ceil(std::log10(largest / (y_ticks_[1] - y_ticks_[0])))) + 1);
  }

  // Whole steps within the data, not beyond it.
  std::vector<double> x_ticks() const {
    if (xs_.low == xs_.high) return {xs_.low};
    std::vector<double> ticks;
    for (const double tick : round_ticks(xs_.low, xs_.high, 6)) {
      if (tick >= xs_.low && tick <= xs_.high && tick == std::floor(tick)) ticks.push_back(tick);
    }
    return ticks;
  }

  std::string curve(const ChartSeries& series) const {
    std::string path;
    std::string dots;
    bool is_open = false;
    const std::vector<ChartPoint> points = downsample(series.points, kColumns);
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (!is_finite(points[i])) {
        is_open = false;
        continue;
      }
      const double x = x_(points[i].x);
      const double y = y_(points[i].y);
      path += fmt::format("{}{:.1f} {:.1f}", is_open ? "L" : "M", x, y);
      const bool is_alone = !is_open && (i + 1 == points.size() || !is_finite(points[i + 1]));
      is_open = true;
      if (series.has_markers || is_alone) {
        dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>", x, y);
      }
    }
    return fmt::format("<g class=\"curve {}\"><path d=\"{}\"/>{}</g>\n", series.css_class, path,
                       dots);
  }

  // Invisible columns; a browser shows the title of the one under the pointer.
  std::string hover_texts() const {
    const double span = x_.high - x_.low;
    const auto count = static_cast<std::int64_t>(
        std::min(static_cast<double>(kHoverColumns), std::max(1.0, span + 1)));
    const double width = (x_.to - x_.from) / static_cast<double>(count);
    std::string svg = "<g class=\"hover\">\n";
    std::vector<std::size_t> at(chart_.series.size(), 0);
    for (std::int64_t column = 0; column < count; ++column) {
      const double left = x_.from + width * static_cast<double>(column);
      const std::string text = hover_text(left + width, column + 1 == count, at);
      if (text.empty()) continue;
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
          "height=\"{:.1f}\"><title>{}</title></rect>\n",
          left, kTop, width, chart_.height - kBottom - kTop, escape_html(text));
    }
    return svg + "</g>\n";
  }

  // The last values to the left of `right`; `at` is where each curve goes on.
  std::string hover_text(double right, bool is_last, std::vector<std::size_t>& at) const {
    std::string text;
    double x = 0;
    for (std::size_t s = 0; s < chart_.series.size(); ++s) {
      const std::vector<ChartPoint>& points = chart_.series[s].points;
      const ChartPoint* found = nullptr;
      for (; at[s] < points.size() && (is_last || x_(points[at[s]].x) < right); ++at[s]) {
        if (is_finite(points[at[s]])) found = &points[at[s]];
      }
      if (found == nullptr) continue;
      x = std::max(x, found->x);
      text += fmt::format("\n{}: {}", chart_.series[s].name, chart_.y_text(found->y));
    }
    return text.empty() ? text : fmt::format("{} {:.0f}{}", chart_.x_label, x, text);
  }

  const Chart& chart_;
  Range xs_;
  Range ys_;
  std::vector<double> y_ticks_;
  Scale x_;
  Scale y_;
};

// The first, lowest, highest and last of [begin, end), each once and in order.
void append_extremes(const std::vector<ChartPoint>& points, std::size_t begin, std::size_t end,
                     std::vector<ChartPoint>& result) {
  std::vector<std::size_t> kept{begin, begin, begin, end - 1};
  for (std::size_t i = begin; i < end; ++i) {
    if (points[i].y < points[kept[1]].y) kept[1] = i;
    if (points[i].y > points[kept[2]].y) kept[2] = i;
  }
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  for (const std::size_t i : kept) result.push_back(points[i]);
}

}  // namespace

std::string svg_chart(const Chart& chart) {
  const Picture picture(chart);
  return picture.is_empty() ? "<p class=\"empty\">Nothing was recorded.</p>\n" : picture.text();
}

std::vector<ChartPoint> downsample(const std::vector<ChartPoint>& points, std::int64_t columns) {
  if (static_cast<std::int64_t>(points.size()) <= 4 * columns) return points;
  const double begin = points.front().x;
  const double width = (points.back().x - begin) / static_cast<double>(columns);
  const auto column_of = [&](const ChartPoint& point) {
    return std::floor((point.x - begin) / width);
  };
  std::vector<ChartPoint> result;
  std::size_t i = 0;
  while (i < points.size()) {
    if (!is_finite(points[i])) {
      const bool is_gap = !result.empty() && !is_finite(result.back());
      if (!is_gap) result.push_back(points[i]);
      ++i;
      continue;
    }
    const double column = column_of(points[i]);
    std::size_t end = i + 1;
    while (end < points.size() && is_finite(points[end]) && column_of(points[end]) == column) ++end;
    append_extremes(points, i, end, result);
    i = end;
  }
  return result;
}

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(high > low)) {
    const double margin = low == 0 ? 1 : std::abs(low) / 2;
    low -= margin;
    high += margin;
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double lead = rough / power;
  const double step = power * (lead > 5 ? 10 : lead > 2 ? 5 : lead > 1 ? 2 : 1);
  std::vector<double> ticks;
  const auto first = static_cast<std::int64_t>(std::floor(low / step + 1e-9));
  const auto last = static_cast<std::int64_t>(std::ceil(high / step - 1e-9));
  for (std::int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string short_number(double value, int digits) {
  const double size = std::abs(value);
  if (size >= 1e6) return fmt::format("{:.{}g}M", value / 1e6, digits);
  if (size >= 1e4) return fmt::format("{:.{}g}k", value / 1e3, digits);
  return fmt::format("{:.{}g}", value, digits);
}

std::string escape_html(std::string_view text) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string result;
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    text.remove_prefix(character.size());
    const auto byte = static_cast<unsigned char>(character[0]);
    const bool is_control = byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
    const bool is_no_character = character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF";
    if (length == 0 || is_control || is_no_character) {
      result += kReplacement;
    } else if (const auto* escape = escape_of(byte); escape != nullptr) {
      result += escape;
    } else {
      result += character;
    }
  }
  return result;
}

}  // namespace wick::cli

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace wick::cli {

/// A place on a curve, in the units of its axes.
struct ChartPoint {
  double x = 0;
  double y = 0;  ///< not finite: the curve has a gap here
};

/// One curve of a chart.
struct ChartSeries {
  std::string name;
  std::string css_class;           ///< "faint", "main" or "second": the page has the colours
  std::vector<ChartPoint> points;  ///< in the order of x
  bool has_markers = false;        ///< a dot on every point
};

/// A line chart.
struct Chart {
  std::string id;       ///< unique in the page
  std::string title;    ///< read aloud in place of the picture
  std::string x_label;  ///< "step"
  std::vector<ChartSeries> series;
  std::function<std::string(double)>
      y_text;                   ///< writes a value of the y axis, for texts that show one
  bool begins_at_zero = false;  ///< the y axis does
  int width = 480;
  int height = 230;
};

/// The chart as an inline SVG element: axes with ticks, curves, a text for every place under the pointer. It needs no
/// script and scales with the page. Without a finite point it is a paragraph that says so.
std::string svg_chart(const Chart& chart);

/// At most about 4 · `columns` of the points, so that the picture stays the same: in each of that many columns the first, the
/// last, the lowest and the highest. Points that are not finite stay.
std::vector<ChartPoint> downsample(const std::vector<ChartPoint>& points, std::int64_t columns);

/// Round numbers (1, 2 or 5 times a power of ten) that cover [low, high] in about `count` steps; the first is at most low,
/// the last at least high.
std::vector<double> round_ticks(double low, double high, int count);

/// A number as short as it can be read, with so many digits that count: "0.25", "1200", "12k", "2.5M", "3e-05".
std::string short_number(double value, int digits = 4);

/// Text for HTML and XML: markup characters escaped, what is no UTF-8 and what XML cannot hold replaced by U+FFFD.
std::string escape_html(std::string_view text);

}  // namespace wick::cli

#include "report.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <sstream>

#include "cli/xml_reader.hpp"
#include "svg_chart.hpp"
#include "wick/base/error.hpp"

namespace wick::cli {
namespace {

using test::XmlElement;
using test::XmlReader;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double loss_at(std::int64_t step) {
  return 1.5 + 2.5 * std::exp(-static_cast<double>(step) / 40) +
         0.1 * std::sin(static_cast<double>(step));
}

Report report_of(std::int64_t steps) {
  Report report{.title = "tiny-model", .summary = {{"run", "finished"}}};
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto x = static_cast<double>(step);
    report.steps.push_back({.step = step,
                            .loss = loss_at(step),
                            .grad_norm = 1 / x,
                            .learning_rate = 1e-4 * x / static_cast<double>(steps),
                            .tokens_per_second = 900 + 10 * std::cos(x),
                            .num_tokens = 512,
                            .peak_memory = 100 << 20,
                            .seconds = x});
    if (step % 10 == 0) report.evaluations.push_back({step, loss_at(step) + 0.2});
  }
  return report;
}

const XmlElement& figure_of(const XmlElement& page, const std::string& name) {
  for (const XmlElement* figure : page.all("figure")) {
    if (figure->has_class(name)) return *figure;
  }
  throw std::runtime_error("there is no figure " + name);
}

// A linear map from the places of an axis' tick texts to the values that they show.
struct Axis {
  double scale = 0;
  double offset = 0;
  double value(double place) const { return place * scale + offset; }
};

double number_of(const std::string& text) {
  std::size_t end = 0;
  const double value = std::stod(text, &end);
  if (text.substr(end) == "k") return value * 1e3;
  if (text.substr(end) == "M") return value * 1e6;
  EXPECT_EQ(end, text.size()) << text;
  return value;
}

Axis axis_of(const XmlElement& figure, const std::string& name, const std::string& place,
             double shift) {
  std::vector<std::pair<double, double>> ticks;
  for (const XmlElement* text : figure.all("text")) {
    if (!text->has_class(name) || text->has_class("name")) continue;
    ticks.emplace_back(std::stod(text->attribute(place)) + shift, number_of(text->text));
  }
  if (ticks.size() < 2) throw std::runtime_error("an axis has fewer than two ticks");
  const auto [p0, v0] = ticks.front();
  const auto [p1, v1] = ticks.back();
  Axis axis{.scale = (v1 - v0) / (p1 - p0)};
  axis.offset = v0 - p0 * axis.scale;
  for (const auto& [p, v] : ticks) EXPECT_NEAR(axis.value(p), v, 0.01 * std::abs(v1 - v0));
  return axis;
}

// What a reader of the chart sees: the curve's points, read with the help of the ticks.
std::vector<ChartPoint> read_curve(const XmlElement& figure, const std::string& css_class) {
  const Axis x = axis_of(figure, "x", "x", 0);
  const Axis y = axis_of(figure, "y", "y", -4);  // a text stands a little below its line
  std::vector<ChartPoint> points;
  for (const XmlElement* group : figure.all("g")) {
    if (!group->has_class("curve") || !group->has_class(css_class)) continue;
    std::string path = group->all("path").at(0)->attribute("d");
    for (char& c : path) c = c == 'M' || c == 'L' ? ' ' : c;
    std::istringstream numbers(path);
    double px = 0;
    double py = 0;
    while (numbers >> px >> py) points.push_back({x.value(px), y.value(py)});
  }
  return points;
}

TEST(Report, CurvesShowTheData) {
  const XmlElement page = XmlReader::read(report_html(report_of(40)));
  const auto training = read_curve(figure_of(page, "loss"), "main");
  ASSERT_EQ(training.size(), 40U);
  for (std::size_t i = 0; i < training.size(); ++i) {
    const auto step = static_cast<std::int64_t>(i) + 1;
    EXPECT_NEAR(training[i].x, static_cast<double>(step), 0.02);
    EXPECT_NEAR(training[i].y, loss_at(step), 0.01);
  }
  const auto held_out = read_curve(figure_of(page, "loss"), "second");
  ASSERT_EQ(held_out.size(), 4U);
  EXPECT_NEAR(held_out[3].x, 40, 0.02);
  EXPECT_NEAR(held_out[3].y, loss_at(40) + 0.2, 0.01);
  const auto rate = read_curve(figure_of(page, "rate"), "main");
  ASSERT_EQ(rate.size(), 40U);
  EXPECT_NEAR(rate[19].y, 5e-5, 1e-6);
  const auto throughput = read_curve(figure_of(page, "throughput"), "main");
  EXPECT_NEAR(throughput.at(4).y, 900 + 10 * std::cos(5.0), 5);
  const auto memory = read_curve(figure_of(page, "memory"), "main");
  EXPECT_NEAR(memory.at(4).y, 100, 1);
}

TEST(Report, EveryChartHasTicksATitleAndADescription) {
  const XmlElement page = XmlReader::read(report_html(report_of(40)));
  const auto pictures = page.all("svg");
  ASSERT_EQ(pictures.size(), 5U);
  std::set<std::string> ids;
  for (const XmlElement* svg : pictures) {
    EXPECT_EQ(svg->attribute("role"), "img");
    ASSERT_GE(svg->children.size(), 2U);
    EXPECT_EQ(svg->children[0].name, "title");
    EXPECT_FALSE(svg->children[0].text.empty());
    EXPECT_EQ(svg->children[1].name, "desc");
    EXPECT_FALSE(svg->children[1].text.empty());
    EXPECT_EQ(svg->attribute("aria-labelledby"),
              svg->children[0].attribute("id") + " " + svg->children[1].attribute("id"));
    EXPECT_TRUE(ids.insert(svg->children[0].attribute("id")).second);
  }
  const std::string description = pictures[0]->children[1].text;
  EXPECT_NE(description.find("training: 4.0"), std::string::npos) << description;
  const auto units = page.all("small");
  EXPECT_EQ(units.at(0)->text, "nats per target token");
  EXPECT_EQ(units.at(4)->text, "MiB");
}

TEST(Report, PointsUnderThePointerSayTheirValues) {
  const XmlElement page = XmlReader::read(report_html(report_of(10)));
  std::vector<std::string> texts;
  for (const XmlElement* rect : figure_of(page, "loss").all("rect")) {
    texts.push_back(rect->all("title").at(0)->text);
  }
  ASSERT_EQ(texts.size(), 10U);
  EXPECT_EQ(texts[9].find("step 10\ntraining: " + std::to_string(loss_at(10)).substr(0, 5)), 0U)
      << texts[9];
  EXPECT_NE(texts[9].find("held out: "), std::string::npos);
  EXPECT_EQ(texts[8].find("held out: "), std::string::npos);
}

TEST(Report, ManyStepsStaySmallAndKeepTheirPeaks) {
  Report report = report_of(100000);
  report.steps[54320].loss = 9.5;  // one spike
  const std::string html = report_html(report);
  EXPECT_LT(html.size(), 600000U);
  const XmlElement page = XmlReader::read(html);
  const auto loss = read_curve(figure_of(page, "loss"), "faint");
  EXPECT_LT(loss.size(), 2000U);
  const auto highest = std::max_element(loss.begin(), loss.end(),
                                        [](const auto& a, const auto& b) { return a.y < b.y; });
  EXPECT_NEAR(highest->y, 9.5, 0.05);
  EXPECT_NEAR(highest->x, 54321, 150);
  EXPECT_NEAR(loss.back().x, 100000, 150);
}

TEST(Report, HostileTextStaysText) {
  Report report = report_of(3);
  const std::string attack =
      "<script>alert('x')</script> & \"quoted\" ]]> <!-- \x01 \xff \xef\xbf\xbe end";
  report.title = attack;
  report.summary = {{attack, attack}};
  report.samples = {{attack, attack, ""}};
  report.settings = {{attack, attack}};
  report.commands = {attack};
  const std::string html = report_html(report);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<!--"), std::string::npos);
  const XmlElement page = XmlReader::read(html);
  const std::string shown =
      "<script>alert('x')</script> & \"quoted\" ]]> <!-- \xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd "
      "end";
  EXPECT_EQ(page.all("h1").at(0)->text, shown);
  EXPECT_EQ(page.all("dd").at(0)->text, shown);
  EXPECT_EQ(page.all("td").at(0)->text, shown);
  EXPECT_EQ(page.all("i").at(0)->text, "nothing");
}

TEST(Report, NeedsNoNetworkAndNoScript) {
  Report report = report_of(60);
  report.samples = {{"p", "before", "after"}};
  const std::string html = report_html(report);
  for (const char* word :
       {"http:", "https:", "//", "url(", "@import", "<script", "src=", "href="}) {
    EXPECT_EQ(html.find(word), std::string::npos) << word;
  }
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
}

TEST(Report, SamplesStandSideBySide) {
  Report report = report_of(3);
  report.samples = {{"Once", "upon", "more"}, {"Then", "came", "two\nlines"}};
  const XmlElement page = XmlReader::read(report_html(report));
  const auto cells = page.all("td");
  ASSERT_EQ(cells.size(), 4U);
  EXPECT_EQ(cells[2]->text, "came");
  EXPECT_EQ(cells[3]->text, "two\nlines");
}

TEST(Report, OfARunWithoutSteps) {
  Report report{.title = "empty", .summary = {{"run", "interrupted after 0 of 9 steps"}}};
  const XmlElement page = XmlReader::read(report_html(report));
  EXPECT_TRUE(page.all("svg").empty());
  const auto paragraphs = page.all("p");
  const auto empty = std::count_if(paragraphs.begin(), paragraphs.end(), [](const XmlElement* p) {
    return p->has_class("empty") && p->text == "Nothing was recorded.";
  });
  EXPECT_EQ(empty, 5);
}

TEST(Report, OfOneStepShowsADot) {
  const XmlElement page = XmlReader::read(report_html(report_of(1)));
  EXPECT_FALSE(figure_of(page, "rate").all("circle").empty());
}

TEST(Report, WhatIsNotFiniteIsAGap) {
  Report report = report_of(20);
  report.steps[9].loss = kNan;
  report.steps[14].loss = std::numeric_limits<double>::infinity();
  const std::string html = report_html(report);
  const XmlElement page = XmlReader::read(html);
  for (const XmlElement* path : page.all("path")) {
    const std::string d = path->attribute("d");
    EXPECT_EQ(d.find_first_not_of("ML0123456789. -"), std::string::npos) << d;
  }
  const XmlElement& loss = figure_of(page, "loss");
  EXPECT_EQ(read_curve(loss, "main").size(), 18U);
  const std::string d = loss.all("path").at(0)->attribute("d");
  EXPECT_EQ(std::count(d.begin(), d.end(), 'M'), 3);
}

TEST(Report, OfNothingButNan) {
  Report report = report_of(5);
  for (StepRecord& record : report.steps) record.loss = kNan;
  report.evaluations.clear();
  const XmlElement page = XmlReader::read(report_html(report));
  EXPECT_EQ(page.all("svg").size(), 4U);
}

TEST(Report, IsWrittenWhole) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "wick-report-is-written";
  std::filesystem::create_directories(folder);
  const Report report = report_of(3);
  write_report(folder / "report.html", report);
  std::ifstream file(folder / "report.html", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_EQ(text, report_html(report));
  EXPECT_THROW(write_report(folder / "absent" / "report.html", report), Error);
  std::filesystem::remove_all(folder);
}

TEST(RoundTicks, CoverTheRangeInRoundSteps) {
  EXPECT_EQ(round_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {0.1, 0.9}, {-3, 7}, {1e-5, 3e-5}, {99990, 100000}, {5, 5}, {0, 0}, {-2, -2}}) {
    const std::vector<double> ticks = round_ticks(low, high, 5);
    ASSERT_GE(ticks.size(), 2U);
    EXPECT_LE(ticks.size(), 13U);
    EXPECT_LE(ticks.front(), low + 1e-9);
    EXPECT_GE(ticks.back(), high - 1e-9);
    const double step = ticks[1] - ticks[0];
    const double lead = step / std::pow(10, std::floor(std::log10(step) + 1e-9));
    EXPECT_TRUE(std::abs(lead - 1) < 1e-6 || std::abs(lead - 2) < 1e-6 || std::abs(lead - 5) < 1e-6)
        << step;
  }
}

TEST(Downsample, LeavesShortCurvesAlone) {
  const std::vector<ChartPoint> points{{1, 2}, {2, kNan}, {3, 4}};
  EXPECT_EQ(downsample(points, 10).size(), 3U);
}

TEST(Downsample, KeepsEndsExtremesAndGaps) {
  std::vector<ChartPoint> points;
  for (int i = 0; i < 10000; ++i) points.push_back({static_cast<double>(i), std::sin(i)});
  points[5000].y = 7;
  points[6000].y = -7;
  points[7000].y = kNan;
  const auto fewer = downsample(points, 50);
  EXPECT_LE(fewer.size(), 210U);
  EXPECT_EQ(fewer.front().x, 0);
  EXPECT_EQ(fewer.back().x, 9999);
  const auto has = [&](double x) {
    return std::any_of(fewer.begin(), fewer.end(), [&](const auto& p) { return p.x == x; });
  };
  EXPECT_TRUE(has(5000));
  EXPECT_TRUE(has(6000));
  EXPECT_TRUE(has(7000));
  for (std::size_t i = 1; i < fewer.size(); ++i) EXPECT_LT(fewer[i - 1].x, fewer[i].x);
}

TEST(ShortNumber, IsReadable) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(0.30000000000000004), "0.3");
  EXPECT_EQ(short_number(1200), "1200");
  EXPECT_EQ(short_number(12000), "12k");
  EXPECT_EQ(short_number(2500000), "2.5M");
  EXPECT_EQ(short_number(2e-5), "2e-05");
}

}  // namespace
}  // namespace wick::cli

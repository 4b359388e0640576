#pragma once

#include <string_view>

namespace wick::cli {

/// The style sheet of a report: light and dark, fit for a telephone and for paper. It holds no `<`, `&` or `]]>`, so that
/// HTML and XML read it alike.
constexpr std::string_view kReportStyle = R"css(
:root {
  --page: #f6f7f9; --card: #ffffff; --text: #1b1f27; --soft: #606a78; --line: #e4e7ec;
  --main: #2762d9; --second: #c2570c; --faint: #a9c1f2; --hover: rgba(39, 98, 217, 0.09);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1a1f27; --text: #e7eaf0; --soft: #98a2b1; --line: #2b323d;
    --main: #6ea0ff; --second: #f5a04c; --faint: #35507f; --hover: rgba(110, 160, 255, 0.12);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 48px; }
header { margin-bottom: 20px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--soft); }
h2 { font-size: 17px; margin: 32px 0 10px; }
.summary { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0 0 12px; }
.summary div, figure, table, pre, details {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
}
.summary div { padding: 12px 16px; }
dt { color: var(--soft); font-size: 13px; }
dd { margin: 2px 0 0; font-size: 17px; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 12px; }
figure { margin: 0; padding: 14px 12px 8px; min-width: 0; }
figure.loss { grid-column: 1 / -1; }
figcaption { padding: 0 6px 6px; display: flex; flex-wrap: wrap; gap: 4px 14px; align-items: baseline; }
figcaption small { color: var(--soft); font-size: 13px; margin-left: -6px; margin-right: auto; }
.key { color: var(--soft); font-size: 13px; }
.key::before {
  content: ""; display: inline-block; width: 18px; height: 3px; border-radius: 2px;
  margin-right: 6px; vertical-align: middle;
}
.key.main::before { background: var(--main); }
.key.second::before { background: var(--second); }
.key.faint::before { background: var(--faint); }
svg { display: block; width: 100%; height: auto; }
.axis line { stroke: var(--line); stroke-width: 1; }
.axis text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.axis .y { text-anchor: end; }
.axis .x { text-anchor: middle; }
.curve path { fill: none; stroke-linejoin: round; stroke-linecap: round; stroke-width: 2; }
.curve.main path { stroke: var(--main); }
.curve.second path { stroke: var(--second); }
.curve.faint path { stroke: var(--faint); stroke-width: 1; }
.curve.main circle { fill: var(--main); }
.curve.second circle { fill: var(--second); }
.curve.faint circle { fill: var(--faint); }
.hover rect { fill: transparent; }
.hover rect:hover { fill: var(--hover); }
.empty { color: var(--soft); padding: 24px 6px; margin: 0; }
table { border-collapse: separate; border-spacing: 0; width: 100%; text-align: left; }
th, td { padding: 10px 14px; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-size: 13px; font-weight: 500; }
tbody th { font-weight: 600; }
.samples { table-layout: fixed; }
.samples tbody th, .samples td { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { padding: 12px 16px; margin: 0; overflow-x: auto; font: 13px/1.6 ui-monospace, Menlo, Consolas, monospace; }
details { margin-top: 32px; }
summary { padding: 12px 16px; cursor: pointer; font-weight: 600; }
.settings { border: 0; font-size: 13px; }
.settings th { width: 34%; color: var(--soft); font-weight: 500; }
.settings th, .settings td { padding: 5px 16px; overflow-wrap: anywhere; }
footer { margin-top: 32px; color: var(--soft); font-size: 13px; }
@media (max-width: 640px) { .samples th, .samples td { padding: 8px; } .loss .axis text { font-size: 22px; } .loss .curve path { stroke-width: 4; } }
@media print { body { background: #ffffff; } .summary div, figure, table, details { break-inside: avoid; } }
)css";

}  // namespace wick::cli

#include "selftest_metal.hpp"

#include <fmt/format.h>

#include "output.hpp"

namespace wick::cli {

namespace {

using Json = nlohmann::json;
using apple::MethodCheck;
using apple::MethodState;

std::string name_of(const MethodCheck& check) {
  return fmt::format("{}[{} {}]", check.kind, check.owner, check.selector);
}

Json to_json(const MetalTiming& timing) {
  return {{"op", timing.op},
          {"shape", timing.shape},
          {"each_s", timing.each},
          {"batched_s", timing.batched},
          {"naive_s", timing.naive},
          {"error", timing.error},
          {"limit", MetalTiming::kLimit},
          {"holds", timing.holds()}};
}

void print_timing(const MetalTiming& t) {
  constexpr double kMicro = 1e6;
  print_out(fmt::format("{:<4} {:<12} {:<32} {:>12.1f} {:>12.1f} {:>12.1f} {:>9.1f}   {:.1e}\n",
                        t.holds() ? "ok" : "BAD", t.op, t.shape, kMicro * t.each,
                        kMicro * t.batched, kMicro * t.naive, t.naive / t.batched, t.error));
  flush_out();
}

}  // namespace

Json report_methods(const MetalReportOptions& options, int& failures) {
  Json missing = Json::array();
  Json other = Json::array();
  int same = 0;
  for (const MethodCheck& check : metal_methods()) {
    const std::string name = name_of(check);
    if (check.state == MethodState::kSame) {
      ++same;
    } else if (check.state == MethodState::kMissing) {
      missing.push_back(name);
      if (options.verbose && !options.json) print_out(fmt::format("absent {}\n", name));
    } else {
      ++failures;
      other.push_back({{"method", name}, {"expected", check.expected}, {"found", check.found}});
      if (!options.json) {
        print_out(fmt::format("BAD    {} has the type {}, Wick sends {}\n", name, check.found,
                              check.expected));
      }
    }
  }
  const Json report{{"same", same}, {"missing", missing}, {"other", other}};
  if (options.json) {
    print_out(json_line({{"methods", report}}));
  } else {
    print_out(
        fmt::format("{} methods are as Wick sends them, {} of another type, {} that this system "
                    "does not have\n",
                    same, other.size(), missing.size()));
  }
  return report;
}

Json report_speed(const MetalReportOptions& options, int& failures) {
  Json timings = Json::array();
  if (!options.json) {
    print_out(fmt::format("{:<4} {:<12} {:<32} {:>12} {:>12} {:>12} {:>9}   {}\n", "", "f32",
                          "µs a call", "each", "batched", "naive", "gain", "error"));
  }
  const auto left_out = metal_speed(options.speed, [&](const MetalTiming& timing) {
    failures += timing.holds() ? 0 : 1;
    timings.push_back(to_json(timing));
    if (options.json) {
      print_out(json_line(timings.back()));
    } else {
      print_timing(timing);
    }
  });
  if (!options.json && !left_out.empty()) {
    print_out(fmt::format("left out by --max-size {}: {}\n", options.speed.max_size,
                          fmt::join(left_out, ", ")));
  }
  return {{"timings", timings}, {"left_out", left_out}, {"max_size", options.speed.max_size}};
}

}  // namespace wick::cli

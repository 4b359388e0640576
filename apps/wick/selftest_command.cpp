#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"
#include "selftest.hpp"
#include "selftest_metal.hpp"

namespace wick::cli {

namespace {

using detail::Json;

// The largest error of each kind, so that the table stays short; what does not hold is shown line by line.
class SelftestTable {
 public:
  explicit SelftestTable(bool json, bool verbose) : json_(json), verbose_(verbose) {}

  void add(const Comparison& comparison) {
    ++count_;
    const bool holds = comparison.holds();
    failed_ += holds ? 0 : 1;
    if (json_) {
      // JSON has no infinity: what could not be computed at all has no error.
      Json error = comparison.error;
      if (!(comparison.error <= std::numeric_limits<double>::max())) error = nullptr;
      print_out(json_line(Json{{"subject", comparison.subject},
                               {"quantity", comparison.quantity},
                               {"error", error},
                               {"limit", comparison.limit},
                               {"holds", holds}}));
    } else if (verbose_ || !holds) {
      print(comparison);
    } else {
      keep_worst(comparison);
    }
  }

  // What does not hold counts as a failure, as does having compared nothing.
  Json finish(int& failures) {
    if (!json_) {
      for (const auto& [key, comparison] : worst_) print(comparison);
      print_out(fmt::format("{} comparisons, {} do not hold\n", count_, failed_));
    }
    failures += failed_ + (count_ == 0 ? 1 : 0);
    return {{"count", count_}, {"failed", failed_}};
  }

 private:
  static std::string kind_of(const std::string& quantity) {
    return quantity.substr(0, quantity.find(" of "));
  }
  static void print(const Comparison& c) {
    print_out(fmt::format("{:<4} {:<34} {:<44} error {:<10.3g} limit {:.3g}\n",
                          c.holds() ? "ok" : "BAD", c.subject, c.quantity, c.error, c.limit));
    flush_out();
  }
  void keep_worst(const Comparison& comparison) {
    Comparison& worst =
        worst_.try_emplace({comparison.subject, kind_of(comparison.quantity)}, comparison)
            .first->second;
    if (comparison.error >= worst.error) worst = comparison;
  }

  bool json_;
  bool verbose_;
  int count_ = 0;
  int failed_ = 0;
  std::map<std::pair<std::string, std::string>, Comparison> worst_;
};

constexpr const char* kFixtures = "fixtures";
constexpr const char* kMethods = "methods";
constexpr const char* kSpeed = "speed";

struct SelftestFlags {
  std::filesystem::path fixtures;
  std::string device = "cpu";
  std::string compute_dtype = "f32";
  std::vector<std::string> parts;
  std::int64_t max_size = 0;
  std::filesystem::path report;
  bool verbose = false;
  bool json = false;

  bool has(std::string_view part) const { return std::ranges::find(parts, part) != parts.end(); }
};

// Without --parts: all that the flags allow.
void complete(SelftestFlags& flags, Device device) {
  const bool is_metal = device.type == DeviceType::kMps;
  const auto fail = [](const std::string& rule) {
    throw Error(ErrorKind::kArgument, "selftest", rule);
  };
  if (flags.parts.empty()) {
    if (is_metal) flags.parts = {kMethods, kSpeed};
    if (!is_metal || !flags.fixtures.empty()) flags.parts.emplace_back(kFixtures);
  }
  if (flags.has(kFixtures) && flags.fixtures.empty()) fail("--fixtures is needed to compare with");
  if (!flags.has(kFixtures) && !flags.fixtures.empty())
    fail("--fixtures needs fixtures in --parts");
  const bool asks_metal = flags.has(kMethods) || flags.has(kSpeed);
  if (asks_metal && !is_metal) fail("methods and speed are parts of --device mps");
  if (!asks_metal && !flags.report.empty()) fail("--report is written by --device mps");
  if (flags.max_size < 0) fail("--max-size must be at least 1");
}

Json compare_fixtures(const SelftestFlags& flags, Device device, int& failures) {
  SelftestTable table(flags.json, flags.verbose);
  const SelftestOptions options{
      .device = device, .compute_dtype = parse_dtype(flags.compute_dtype).value_or(DType::kF32)};
  run_selftest(flags.fixtures, options,
               [&](const Comparison& comparison) { table.add(comparison); });
  return table.finish(failures);
}

// What the numbers of software Metal are worth is told before them.
Json describe_metal(const SelftestFlags& flags) {
  const bool is_software = is_software_metal();
  const std::string description = device_description({DeviceType::kMps, 0});
  if (!flags.json) {
    print_out(fmt::format("{} on {}\n", description, metal_system_version()));
    if (is_software && flags.has(kSpeed)) {
      print_out("Software Metal computes on the CPU: its times say nothing about a GPU.\n");
    }
  }
  return {{"device", description},
          {"is_software", is_software},
          {"system", metal_system_version()},
          {"wick", WICK_VERSION}};
}

int run_selftest_command(SelftestFlags flags) {
  const Device device = parse_device(flags.device);
  static_cast<void>(device_description(device));  // or why there is none
  complete(flags, device);
  int failures = 0;
  Json report = Json::object();
  if (flags.has(kMethods) || flags.has(kSpeed)) {
    report = describe_metal(flags);
    // It runs the threads of a kernel one after another.
    constexpr std::int64_t kSoftwareSize = 64;
    MetalReportOptions options{.json = flags.json, .verbose = flags.verbose};
    if (is_software_metal()) options.speed = {.max_size = kSoftwareSize, .sample_seconds = 0};
    if (flags.max_size > 0) options.speed.max_size = flags.max_size;
    if (flags.has(kMethods)) report["methods"] = report_methods(options, failures);
    if (flags.has(kSpeed)) report["speed"] = report_speed(options, failures);
  }
  if (flags.has(kFixtures)) report["comparisons"] = compare_fixtures(flags, device, failures);
  if (!flags.report.empty()) {
    detail::write_file_atomically(flags.report, detail::to_text(report));
    if (!flags.json) print_out(fmt::format("written to {}\n", flags.report.string()));
  }
  return failures == 0 ? kSuccess : kFailure;
}

constexpr const char* kFooter =
    R"(docs/selftest.md describes the folder. A line is printed for the largest error of each kind, and for every
comparison that does not hold; then the exit code is 1.

On --device mps it also checks every method that Wick sends against the running system, and times ops: each with a wait of
its own, many in one command buffer, and the naive way, with a new queue, new kernels and a wait for each. --report writes
all of it to a file that can be sent in.

Examples:
  wick selftest --fixtures tests/fixtures
  wick selftest --fixtures DIR --verbose
  wick selftest --device mps --fixtures tests/fixtures --report metal.json)";

}  // namespace

void add_selftest_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<SelftestFlags>();
  CLI::App* command = app.add_subcommand(
      "selftest", "Compare with what the reference libraries computed, and check and time Metal");
  command->footer(kFooter);
  command->add_option("--fixtures", flags->fixtures, "Folder with models/ and tokenizers/");
  command->add_option("--device", flags->device, "Where to compute: cpu, cuda, cuda:N or mps")
      ->capture_default_str();
  command
      ->add_option("--compute-dtype", flags->compute_dtype,
                   "Dtype of activations: f32, bf16, f16; in 16 bits with wider limits")
      ->capture_default_str();
  command
      ->add_option(
          "--parts", flags->parts,
          "What to do: fixtures, and on mps methods and speed; all that the other flags allow")
      ->delimiter(',')
      ->check(CLI::IsMember({kFixtures, kMethods, kSpeed}));
  command->add_option("--max-size", flags->max_size,
                      "Largest size that is timed; 0: 2048, on software Metal 64");
  command->add_option("--report", flags->report, "Write what mps is and does to this JSON file");
  command->add_flag("--verbose", flags->verbose, "Print every comparison");
  command->add_flag("--json", flags->json, "Print one JSON object a comparison");
  command->callback([flags, &session] { session.exit_code = run_selftest_command(*flags); });
}

}  // namespace wick::cli

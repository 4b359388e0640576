#include <fmt/format.h>

#include <limits>
#include <map>
#include <utility>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"
#include "selftest.hpp"

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

  int finish() {
    if (!json_) {
      for (const auto& [key, comparison] : worst_) print(comparison);
      print_out(fmt::format("{} comparisons, {} do not hold\n", count_, failed_));
    }
    return failed_ == 0 && count_ > 0 ? kSuccess : kFailure;
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

struct SelftestFlags {
  std::filesystem::path fixtures;
  std::string device = "cpu";
  std::string compute_dtype = "f32";
  bool verbose = false;
  bool json = false;
};

int run_selftest_command(const SelftestFlags& flags) {
  SelftestTable table(flags.json, flags.verbose);
  const SelftestOptions options{
      .device = parse_device(flags.device),
      .compute_dtype = parse_dtype(flags.compute_dtype).value_or(DType::kF32)};
  run_selftest(flags.fixtures, options,
               [&](const Comparison& comparison) { table.add(comparison); });
  return table.finish();
}

constexpr const char* kFooter =
    R"(docs/selftest.md describes the folder. A line is printed for the largest error of each kind, and for every
comparison that does not hold; then the exit code is 1.

Examples:
  wick selftest --fixtures tests/fixtures
  wick selftest --fixtures DIR --verbose)";

}  // namespace

void add_selftest_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<SelftestFlags>();
  CLI::App* command = app.add_subcommand(
      "selftest", "Compare with what the reference libraries computed on a folder of fixtures");
  command->footer(kFooter);
  command->add_option("--fixtures", flags->fixtures, "Folder with models/ and tokenizers/")
      ->required();
  command->add_option("--device", flags->device, "Where to compute: cpu, cuda, cuda:N or mps")
      ->capture_default_str();
  command
      ->add_option("--compute-dtype", flags->compute_dtype,
                   "Dtype of activations: f32, bf16, f16; in 16 bits with wider limits")
      ->capture_default_str();
  command->add_flag("--verbose", flags->verbose, "Print every comparison");
  command->add_flag("--json", flags->json, "Print one JSON object a comparison");
  command->callback([flags, &session] { session.exit_code = run_selftest_command(*flags); });
}

}  // namespace wick::cli

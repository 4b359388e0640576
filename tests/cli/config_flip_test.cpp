// A job.yaml or job.json in which one bit has flipped.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "config_file.hpp"
#include "harness/bit_flips.hpp"
#include "harness/temp_folder.hpp"

namespace wick::test {

namespace {

// The kinds of flags that a command has.
struct Flags {
  std::string model;
  double learning_rate = 0;
  std::int64_t r = 0;
  bool packing = false;
  std::vector<std::string> target_modules;
  std::vector<std::string> rank_pattern;
  CLI::App app{"", "wick"};

  Flags() {
    CLI::App* train = app.add_subcommand("train");
    train->add_option("--model", model);
    train->add_option("--learning-rate,--lr", learning_rate);
    train->add_option("-r,--r", r);
    train->add_flag("--packing", packing);
    train->add_option("--target-modules", target_modules);
    train->add_option("--rank-pattern", rank_pattern);
  }
};

void sweep(const std::string& name, const std::string& text) {
  const TempFolder folder;
  const auto path = folder.write(name, text);
  const FlipOutcome outcome = load_with_bit_flips(path, 10'000, {name}, [&] {
    Flags flags;
    const cli::Arguments arguments =
        cli::apply_config_file(flags.app, {"train", "--config", path.string()});
    std::vector<std::string> last_first(arguments.values.rbegin(), arguments.values.rend());
    try {
      flags.app.parse(last_first);
    } catch (
        const CLI::ParseError&) {  // a value that is none of its flag, which the program reports
    }
  });
  EXPECT_GT(outcome.refused, 100) << name;
  EXPECT_GT(outcome.loaded, 100) << name;
}

TEST(ConfigFlips, Yaml) {
  sweep("job.yaml", R"(# a run
model: &base "./my model"
learning_rate: 2e-4   # the same as --lr
r: 16
packing: true
target_modules: [q_proj, 'v_proj']
rank-pattern:
  "layers.0": 4
  layers.1: 8
)");
}

TEST(ConfigFlips, Json) {
  sweep("job.json", R"({"model": "./my model", "lr": 0.0002, "r": 16, "packing": true,
 "target_modules": ["q_proj", "v_proj"], "rank_pattern": {"layers.0": 4, "layers.1": 8}})");
}

}  // namespace

}  // namespace wick::test

// Makes docs/ops.md from the catalog, the case lists and what each device answers; with --check, compares.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <utility>

#include "harness/check_op.hpp"
#include "harness/inputs.hpp"
#include "wick/autograd/autograd.hpp"

namespace wick::testing {

namespace {

// "f32 f16 bf16" as far as the device takes the op's first case of each dtype.
std::string supported(const OpSpec& spec, Device device) {
  std::vector<std::string> names;
  for (const DType dtype : spec.dtypes) {
    const auto found = std::ranges::find_if(spec.cases, [&](const OpCase& op_case) {
      return !op_case.benchmark_only && takes(op_case, dtype);
    });
    if (found == spec.cases.end()) continue;
    try {
      const NoGradGuard no_grad;
      found->run(make_tensors(*found, make_arrays(*found, dtype, 1), dtype, device));
      names.emplace_back(to_string(dtype));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUnsupported) throw;
    }
  }
  return names.empty() ? "–" : fmt::format("{}", fmt::join(names, " "));
}

std::string gradient_words(std::string_view op) {
  const std::string kind = gradient_kind(op);
  if (kind == "differentiable") return "yes";
  return kind == "in_place" ? "in place" : "no";
}

std::string table(const std::vector<Device>& devices) {
  std::ostringstream out;
  out << "# Ops\n\n"
         "Made by `wick_ops_table` from the catalog, the case lists and what each device answers; "
         "a test\n"
         "keeps it true. The contract of each op (shapes, dtypes, errors, gradient, source) is in "
         "its\n"
         "header under `include/wick/ops/`. Cases are those of the correctness test; each runs on "
         "every\n"
         "dtype named, every variant and every instruction set.\n\n"
         "| op | gradient | cases | refusals |";
  for (const Device device : devices) out << ' ' << to_string(device) << " |";
  out << "\n|---|---|---|---|";
  for (std::size_t i = 0; i < devices.size(); ++i) out << "---|";
  out << '\n';
  for (const OpSpec& spec : all_specs()) {
    const auto tested = std::ranges::count(spec.cases, false, &OpCase::benchmark_only);
    out << fmt::format("| {} | {} | {} | {} |", spec.op, gradient_words(spec.op), tested,
                       spec.errors.size());
    for (const Device device : devices) out << ' ' << supported(spec, device) << " |";
    out << '\n';
  }
  return out.str();
}

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream text(row.substr(1));
  for (std::string cell; std::getline(text, cell, '|');) cells.push_back(cell);
  return cells;
}

// A table as it was written, without the columns of devices that this machine has not, and the devices of those it has: it
// may have been made where there were others.
std::pair<std::string, std::vector<Device>> common_part(const std::string& written) {
  constexpr std::size_t kFirstDevice = 4;
  std::vector<Device> devices;
  std::vector<bool> kept;
  std::string text;
  std::istringstream lines(written);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('|')) {
      text += line + '\n';
      continue;
    }
    const std::vector<std::string> cells = cells_of(line);
    if (kept.empty()) {
      kept.assign(cells.size(), true);
      for (std::size_t i = kFirstDevice; i < cells.size(); ++i) {
        const Device device = parse_device(cells[i].substr(1, cells[i].size() - 2));
        kept[i] = std::ranges::count(computing_devices(), device) > 0;
        if (kept[i]) devices.push_back(device);
      }
    }
    text += '|';
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i >= kept.size() || kept[i]) text += cells[i] + '|';
    }
    text += '\n';
  }
  return {text, devices};
}

int check(const std::string& path) {
  std::ifstream file(path);
  const auto [written, devices] =
      common_part(std::string{std::istreambuf_iterator<char>(file), {}});
  if (written == table(devices)) return 0;
  std::cerr << path
            << " is not what the catalog and the cases say; write it anew with\n  wick_ops_table > "
            << path << '\n';
  return 1;
}

}  // namespace

}  // namespace wick::testing

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--check") return wick::testing::check(argv[2]);
  std::cout << wick::testing::table(wick::testing::computing_devices());
  return 0;
}

#include "backends/mps/way_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <system_error>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "wick/base/error.hpp"

namespace wick::mps {

namespace {

using detail::Json;
using detail::JsonFields;

constexpr std::string_view kFormat = "wick ways";
// Of the kernels that were measured: a table of another version is left alone.
constexpr std::int64_t kVersion = 2;

using Names = std::span<const std::string_view>;

constexpr std::string_view kProducts[] = {"few_rows", "mps_vector", "mps", "tiles", "mps_array"};
constexpr std::string_view kLayers[] = {"few_rows", "mps", "fused"};
constexpr std::string_view kLayerGradients[] = {"mps", "fused"};
constexpr std::string_view kRows[] = {"rows", "mps"};

struct KernelWays {
  ChoiceKernel kernel;
  std::string_view name;
  Names ways;
};

// In the order of ChoiceKernel.
constexpr KernelWays kKernels[] = {
    {ChoiceKernel::kMatmul, "matmul", kProducts},
    {ChoiceKernel::kLoraLinear, "lora_linear", kLayers},
    {ChoiceKernel::kLoraLinearBackward, "lora_linear_backward", kLayerGradients},
    {ChoiceKernel::kSoftmax, "softmax", kRows},
    {ChoiceKernel::kSoftmaxBackward, "softmax_backward", kRows},
    {ChoiceKernel::kLogSoftmax, "log_softmax", kRows},
    {ChoiceKernel::kLogSoftmaxBackward, "log_softmax_backward", kRows}};

constexpr const KernelWays& entry_of(ChoiceKernel kernel) {
  return kKernels[static_cast<std::size_t>(kernel)];
}

const KernelWays* entry_of(std::string_view name) {
  const auto* const found = std::ranges::find(kKernels, name, &KernelWays::name);
  return found == std::end(kKernels) ? nullptr : found;
}

// The literal of this name; empty where the kernel has no such way.
std::string_view known_way(ChoiceKernel kernel, std::string_view name) {
  const auto ways = ways_of(kernel);
  const auto found = std::ranges::find(ways, name);
  return found == ways.end() ? std::string_view() : *found;
}

std::int64_t power_above(std::int64_t size) {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  if (size < 1) return 0;
  return size > kMost ? kMost
                      : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(size)));
}

Json to_json(const CallShape& shape, std::string_view way) {
  return {{"kernel", name_of(shape.kernel)},
          {"G", shape.G},
          {"M", shape.M},
          {"N", shape.N},
          {"K", shape.K},
          {"R", shape.R},
          {"a", to_string(shape.a)},
          {"b", to_string(shape.b)},
          {"c", to_string(shape.c)},
          {"update", to_string(shape.update)},
          {"a_by_columns", shape.a_by_columns},
          {"b_by_columns", shape.b_by_columns},
          {"has_bias", shape.has_bias},
          {"a_shared", shape.a_shared},
          {"b_shared", shape.b_shared},
          {"way", way}};
}

DType dtype_in(const JsonFields& fields, std::string_view key) {
  const std::string name = fields.string(key);
  const auto* const found =
      std::ranges::find(kAllDTypes, name, [](DType dtype) { return to_string(dtype); });
  if (found == std::end(kAllDTypes)) fields.fail(key, "must be a dtype");
  return *found;
}

std::int64_t size_in(const JsonFields& fields, std::string_view key) {
  const std::int64_t size = fields.integer(key);
  if (size < 0 || size != power_above(size)) fields.fail(key, "must be 0 or a power of two");
  return size;
}

CallShape shape_in(const JsonFields& fields) {
  const KernelWays* const entry = entry_of(fields.string("kernel"));
  if (entry == nullptr) fields.fail("kernel", "is no kernel that has several ways");
  return {.kernel = entry->kernel,
          .G = size_in(fields, "G"),
          .M = size_in(fields, "M"),
          .N = size_in(fields, "N"),
          .K = size_in(fields, "K"),
          .R = size_in(fields, "R"),
          .a = dtype_in(fields, "a"),
          .b = dtype_in(fields, "b"),
          .c = dtype_in(fields, "c"),
          .update = dtype_in(fields, "update"),
          .a_by_columns = fields.boolean("a_by_columns", false),
          .b_by_columns = fields.boolean("b_by_columns", false),
          .has_bias = fields.boolean("has_bias", false),
          .a_shared = fields.boolean("a_shared", false),
          .b_shared = fields.boolean("b_shared", false)};
}

const Json& list_in(const JsonFields& fields, std::string_view key) {
  const Json& list = fields.require(key);
  if (!list.is_array()) fields.fail(key, "must be a list, got " + detail::describe(list));
  return list;
}

WayTable table_in(const JsonFields& machine) {
  WayTable table;
  std::size_t number = 0;
  for (const Json& entry : list_in(machine, "ways")) {
    const JsonFields fields(entry, fmt::format("{}: way {}", machine.where(), ++number));
    const CallShape shape = shape_in(fields);
    const std::string_view way = known_way(shape.kernel, fields.string("way"));
    if (way.empty()) {
      fields.fail("way", fmt::format("is no way of {}", name_of(shape.kernel)));
    }
    table.set(shape, way);
  }
  return table;
}

bool is_of(const JsonFields& fields, const Machine& machine) {
  return fields.integer("version") == kVersion && fields.string("device") == machine.device &&
         fields.string("system") == machine.system;
}

// The machines of a file, each checked to say which it is.
std::vector<Json> machines_in(const std::filesystem::path& file) {
  const Json json = detail::read_json_file(file);
  const JsonFields fields(json, file.string());
  if (fields.string("format") != kFormat) {
    fields.fail("format", fmt::format("must be \"{}\"", kFormat));
  }
  const Json& list = list_in(fields, "machines");
  for (const Json& entry : list) is_of(JsonFields(entry, file.string()), {});
  return {list.begin(), list.end()};
}

}  // namespace

std::string_view name_of(ChoiceKernel kernel) noexcept { return entry_of(kernel).name; }

Names ways_of(ChoiceKernel kernel) noexcept { return entry_of(kernel).ways; }

Names ways_of(std::string_view kernel) noexcept {
  const KernelWays* const entry = entry_of(kernel);
  return entry == nullptr ? Names() : entry->ways;
}

bool is_of_rows(ChoiceKernel kernel) noexcept { return kernel >= ChoiceKernel::kSoftmax; }

bool is_by_mps(std::string_view way) noexcept { return way.starts_with("mps"); }

bool is_empty(const CallShape& shape) noexcept {
  return shape.G * shape.M * shape.N == 0 || (shape.K == 0 && !is_of_rows(shape.kernel));
}

CallShape rounded(CallShape shape) noexcept {
  for (std::int64_t* size : {&shape.G, &shape.M, &shape.N, &shape.K, &shape.R}) {
    *size = power_above(*size);
  }
  return shape;
}

std::string describe(const CallShape& shape) {
  const auto matrix = [&](std::int64_t rows, std::int64_t columns, bool by_columns, bool shared) {
    const std::string sizes =
        by_columns ? fmt::format("[{},{}]ᵀ", columns, rows) : fmt::format("[{},{}]", rows, columns);
    return shape.G > 1 && !shared ? fmt::format("{} · {}", shape.G, sizes) : sizes;
  };
  if (is_of_rows(shape.kernel)) {
    return fmt::format("[{},{}] {}", shape.M, shape.N, to_string(shape.a));
  }
  return fmt::format(
      "{} x {}{}{} {}, {} → {}", matrix(shape.M, shape.K, shape.a_by_columns, shape.a_shared),
      matrix(shape.K, shape.N, shape.b_by_columns, shape.b_shared),
      shape.R > 0 ? fmt::format(", r {} {}", shape.R, to_string(shape.update)) : "",
      shape.has_bias ? ", bias" : "", to_string(shape.a), to_string(shape.b), to_string(shape.c));
}

std::string_view WayTable::choose(const CallShape& shape) const {
  if (ways_.empty()) return {};
  const auto found = ways_.find(rounded(shape));
  return found == ways_.end() ? std::string_view() : found->second;
}

void WayTable::set(const CallShape& shape, std::string_view way) {
  if (way.empty()) {
    ways_.erase(rounded(shape));
    return;
  }
  const std::string_view known = known_way(shape.kernel, way);
  if (known.empty()) {
    throw Error(ErrorKind::kArgument, "tune",
                fmt::format("{} has no way \"{}\"", name_of(shape.kernel), way));
  }
  ways_[rounded(shape)] = known;
}

WayTable load_ways(const std::filesystem::path& file, const Machine& machine) {
  std::error_code problem;
  if (!std::filesystem::exists(file, problem) && !problem) return {};
  for (const Json& entry : machines_in(file)) {
    const JsonFields fields(entry, file.string());
    if (is_of(fields, machine)) return table_in(fields);
  }
  return {};
}

std::string store_ways(const std::filesystem::path& file, const Machine& machine,
                       const WayTable& table) {
  std::string note;
  std::vector<Json> machines;
  try {
    if (std::filesystem::exists(file)) machines = machines_in(file);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kParse) throw;
    note = error.what();
  }
  std::erase_if(machines, [&](const Json& entry) {
    return is_of(JsonFields(entry, file.string()), machine);
  });
  Json ways = Json::array();
  for (const auto& [shape, way] : table.ways()) ways.push_back(to_json(shape, way));
  machines.push_back({{"version", kVersion},
                      {"device", machine.device},
                      {"system", machine.system},
                      {"ways", std::move(ways)}});
  std::error_code problem;
  std::filesystem::create_directories(file.parent_path(), problem);
  if (problem) {
    throw Error(ErrorKind::kIo, file.parent_path().string(),
                "cannot be made: " + problem.message());
  }
  detail::write_file_atomically(
      file, detail::to_text({{"format", kFormat}, {"machines", std::move(machines)}}));
  return note;
}

}  // namespace wick::mps

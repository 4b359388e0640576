#include "wick/runtime/settings.hpp"

#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>

#include "base/platform.hpp"
#include "runtime/backend.hpp"
#include "runtime/variants.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/communicator.hpp"

// No header of macOS declares it.
extern "C" char** environ;  // NOLINT(readability-redundant-declaration): others do

namespace wick {

namespace {

// What set_num_threads() and the environment decide. The only place that reads the environment.
struct State {
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> forced;
  std::atomic<bool> any_forced{false};
  std::atomic<int> num_threads{1};
};

Error bad_environment(std::string_view name, std::string_view rule, std::string_view value) {
  return {ErrorKind::kArgument, std::string(name), fmt::format("{}, got \"{}\"", rule, value)};
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : std::string_view(value);
}

int threads_at_start() {
  const std::string_view text = environment("WICK_NUM_THREADS");
  if (text.empty()) return detail::available_processors();
  int count = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (status != std::errc{} || end != text.data() + text.size() || count < 1) {
    throw bad_environment("WICK_NUM_THREADS", "must be a whole number of at least 1", text);
  }
  return count;
}

void read_forced_variants(State& state) {
  std::string_view rest = environment("WICK_FORCE_VARIANT");
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      throw bad_environment("WICK_FORCE_VARIANT", "must be a list of kernel=variant", item);
    }
    state.forced.emplace(item.substr(0, equals), item.substr(equals + 1));
  }
  state.any_forced = !state.forced.empty();
}

State& state() {
  static State instance;
  static const bool initialised = [] {
    instance.num_threads = threads_at_start();
    read_forced_variants(instance);
    return true;
  }();
  static_cast<void>(initialised);
  return instance;
}

}  // namespace

int num_threads() { return state().num_threads; }

void set_num_threads(int n) {
  if (n < 1) {
    throw Error(ErrorKind::kArgument, "set_num_threads",
                fmt::format("n must be at least 1, got {}", n));
  }
  state().num_threads = n;
}

namespace {

// The first of two variables that is set, as a number of [least, most].
std::optional<int> environment_number(const char* name, const char* other, int least, int most) {
  const char* found = environment(name).empty() ? other : name;
  if (found == nullptr || environment(found).empty()) return std::nullopt;
  const std::string_view text = environment(found);
  int number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = status == std::errc{} && end == text.data() + text.size();
  if (!is_whole || number < least || number > most) {
    throw bad_environment(found, fmt::format("must be a whole number of [{}, {}]", least, most),
                          text);
  }
  return number;
}

}  // namespace

// A relative path would mean another folder in each process: the standard of XDG has it ignored.
std::optional<std::filesystem::path> user_cache_folder() {
  const std::filesystem::path asked(environment("XDG_CACHE_HOME"));
  if (asked.is_absolute()) return asked / "wick";
  const std::filesystem::path home(environment("HOME"));
  if (!home.is_absolute()) return std::nullopt;
  return home / detail::kCacheFolder / "wick";
}

std::optional<RankOptions> rank_from_environment() {
  constexpr int kMostRanks = 4096;
  constexpr int kLastPort = 65535;
  const auto size = environment_number("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", 1, kMostRanks);
  if (!size || *size == 1) return std::nullopt;
  const auto rank = environment_number("RANK", "OMPI_COMM_WORLD_RANK", 0, *size - 1);
  if (!rank) {
    throw Error(ErrorKind::kArgument, "WORLD_SIZE",
                fmt::format("is {}, but RANK is not set", *size));
  }
  RankOptions options{.rank = *rank, .local_rank = *rank, .size = *size};
  const auto local = environment_number("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", 0, *size - 1);
  if (local) options.local_rank = *local;
  if (!environment("MASTER_ADDR").empty()) options.address = environment("MASTER_ADDR");
  const auto port = environment_number("MASTER_PORT", nullptr, 1, kLastPort);
  if (port) options.port = static_cast<std::uint16_t>(*port);
  return options;
}

std::vector<std::string> environment_of_rank(const RankOptions& options) {
  const std::map<std::string, std::string> own{
      {"RANK", std::to_string(options.rank)},
      {"LOCAL_RANK", std::to_string(options.local_rank)},
      {"WORLD_SIZE", std::to_string(options.size)},
      {"MASTER_ADDR", options.address},
      {"MASTER_PORT", std::to_string(options.port)},
  };
  std::vector<std::string> result;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!own.contains(text.substr(0, text.find('=')))) result.push_back(text);
  }
  for (const auto& [name, value] : own) result.push_back(fmt::format("{}={}", name, value));
  return result;
}

std::vector<std::string> kernel_variants(Device device, std::string_view kernel) {
  const auto names = backend_of(device).variants(kernel);
  return {names.begin(), names.end()};
}

namespace {

void check_variant(std::span<const std::unique_ptr<Backend>> backends, std::string_view kernel,
                   std::string_view variant) {
  const auto has_it = [&](const auto& backend) {
    return std::ranges::count(backend->variants(kernel), variant) > 0;
  };
  if (std::ranges::any_of(backends, has_it)) return;
  throw Error(ErrorKind::kArgument, "force_variant",
              fmt::format("no device has a variant \"{}\" of {}", variant, kernel));
}

}  // namespace

void check_forced_variants(std::span<const std::unique_ptr<Backend>> backends) {
  State& settings = state();
  const std::lock_guard lock(settings.mutex);
  for (const auto& [kernel, variant] : settings.forced) check_variant(backends, kernel, variant);
}

void force_variant(std::string_view kernel, std::string_view variant) {
  if (!variant.empty()) check_variant(all_backends(), kernel, variant);
  State& settings = state();
  {
    const std::lock_guard lock(settings.mutex);
    settings.forced.erase(std::string(kernel));
    if (!variant.empty()) settings.forced.emplace(kernel, variant);
    settings.any_forced = !settings.forced.empty();
  }
  for (const auto& backend : all_backends()) backend->variant_forced(kernel, variant);
}

std::string forced_variant(std::string_view kernel) {
  State& settings = state();
  if (!settings.any_forced) return {};
  const std::lock_guard lock(settings.mutex);
  const auto found = settings.forced.find(kernel);
  return found == settings.forced.end() ? std::string{} : found->second;
}

}  // namespace wick

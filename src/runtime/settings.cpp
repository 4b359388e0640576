#include "wick/runtime/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/platform.hpp"
#include "runtime/backend.hpp"
#include "runtime/variants.hpp"
#include "wick/base/error.hpp"

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

#include "base/temporary_name.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <mutex>
#include <set>

namespace wick::detail {

namespace {

constexpr std::string_view kMark = ".tmp-";

struct Serials {
  std::mutex mutex;
  std::set<std::uint64_t> in_use;
  std::uint64_t next = 1;
};

Serials& serials() {
  static Serials all;
  return all;
}

std::uint64_t take_serial() {
  Serials& all = serials();
  const std::lock_guard lock(all.mutex);
  return *all.in_use.insert(all.next++).first;
}

std::optional<std::uint64_t> parse_number(std::string_view digits) {
  std::uint64_t value = 0;
  const char* const begin = digits.data();
  const char* const end = begin + digits.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

TemporaryName::TemporaryName(const std::filesystem::path& path)
    : serial_(take_serial()),
      path_(fmt::format("{}{}{}-{}", path.string(), kMark, ::getpid(), serial_)) {}

TemporaryName::~TemporaryName() {
  Serials& all = serials();
  const std::lock_guard lock(all.mutex);
  all.in_use.erase(serial_);
}

bool is_stale_temporary(std::string_view file_name) {
  const std::size_t mark = file_name.rfind(kMark);
  const std::size_t dash = file_name.rfind('-');
  if (mark == std::string_view::npos || dash < mark + kMark.size()) return false;
  const std::size_t digits = mark + kMark.size();
  const auto process = parse_number(file_name.substr(digits, dash - digits));
  const auto serial = parse_number(file_name.substr(dash + 1));
  // 0 would mean a group of processes; what does not fit a process number was never one.
  if (!process || !serial || *process == 0 || *process > INT32_MAX) return false;
  const auto owner = static_cast<pid_t>(*process);
  if (owner == ::getpid()) {
    Serials& all = serials();
    const std::lock_guard lock(all.mutex);
    return !all.in_use.contains(*serial);
  }
  return ::kill(owner, 0) != 0 && errno == ESRCH;
}

}  // namespace wick::detail

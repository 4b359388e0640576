#include "base/platform.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <sys/prctl.h>

#include <csignal>
#include <filesystem>
#elif defined(__APPLE__)
#include <mach-o/dyld.h>

#include <array>
#endif

#include "wick/base/error.hpp"

namespace wick::detail {

int available_processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    return std::max(1, CPU_COUNT(&allowed));
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string program_path() {
#if defined(__linux__)
  std::error_code problem;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", problem);
  if (!problem) return path.string();
#elif defined(__APPLE__)
  std::array<char, 4096> path{};
  std::uint32_t size = path.size();
  if (_NSGetExecutablePath(path.data(), &size) == 0) return path.data();
#endif
  throw Error(ErrorKind::kUnsupported, "ranks", "the system does not say which program this is");
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
  constexpr std::int64_t kUnit = 1;
#else
  constexpr std::int64_t kUnit = 1024;
#endif
  return usage.ru_maxrss * kUnit;
}

void die_with_parent() {
#if defined(__linux__)
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

}  // namespace wick::detail

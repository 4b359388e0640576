#include "base/file_io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// macOS refuses writes of 2 GiB and more.
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;
// What a new file may be at most; the process's mask takes the rest away.
constexpr int kNewFileMode = 0666;

template <class Call>
auto repeat_when_interrupted(const Call& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

void throw_io(const std::filesystem::path& path, std::string_view what, int error_number) {
  throw Error(ErrorKind::kIo, path.string(),
              fmt::format("{}: {}", what, std::generic_category().message(error_number)));
}

Descriptor::Descriptor(const std::filesystem::path& path, int flags, std::string_view what)
    : number_(repeat_when_interrupted(
          [&] { return ::open(path.c_str(), flags | O_CLOEXEC, kNewFileMode); })) {
  if (number_ < 0) throw_io(path, what, errno);
}

Descriptor::~Descriptor() { ::close(number_); }

void write_all(int descriptor, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const std::size_t wanted = std::min(bytes.size(), kLargestWrite);
    const ssize_t written =
        repeat_when_interrupted([&] { return ::write(descriptor, bytes.data(), wanted); });
    if (written < 0) throw_io(path, "cannot be written", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void flush_to_disk(int descriptor, const std::filesystem::path& path) {
  const int result = repeat_when_interrupted([&] { return ::fsync(descriptor); });
  // Some file systems know no flush of a folder, or none at all: nothing more can be done there.
  if (result != 0 && errno != EINVAL && errno != ENOTSUP) {
    throw_io(path, "cannot be flushed to the disk", errno);
  }
}

void flush_to_disk(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY, "cannot be flushed to the disk");
  flush_to_disk(file.number(), path);
}

}  // namespace wick::detail

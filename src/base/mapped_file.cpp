#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_io.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // Not O_RDONLY alone: opening a pipe that nobody writes to would wait for ever.
  const Descriptor file(path, O_RDONLY | O_NONBLOCK, "cannot be read");
  struct stat status{};
  if (::fstat(file.number(), &status) != 0) throw_io(path, "cannot be read", errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::kIo, path.string(),
                S_ISDIR(status.st_mode) ? "is a folder, not a file" : "is not an ordinary file");
  }
  auto mapped = std::make_shared<MappedFile>(Private(), path);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return mapped;
  // SAFETY: a new private mapping; `mapped` unmaps exactly these bytes, and the descriptor may be closed meanwhile.
  void* start =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.number(), 0);
  if (start == MAP_FAILED) throw_io(path, "cannot be mapped into memory", errno);
  mapped->bytes_ = {static_cast<std::byte*>(start), size};
  return mapped;
}

MappedFile::~MappedFile() {
  // SAFETY: the bytes that open() mapped; whoever uses them keeps this object.
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

std::string_view MappedFile::text() const noexcept {
  // SAFETY: any object may be read as char.
  return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

void MappedFile::drop_pages(std::span<const std::byte> range) const noexcept {
  if (range.empty() || bytes_.empty()) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  // A mapping starts on a page.
  const auto offset = static_cast<std::size_t>(range.data() - bytes_.data());
  const std::size_t begin = (offset + page - 1) / page * page;
  const std::size_t end = (offset + range.size()) / page * page;
  if (begin < end) ::madvise(bytes_.data() + begin, end - begin, MADV_DONTNEED);
}

}  // namespace wick::detail

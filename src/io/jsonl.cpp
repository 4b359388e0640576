#include "wick/io/jsonl.hpp"

#include <algorithm>

#include "base/mapped_file.hpp"

namespace wick {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

struct LineReader::Impl {
  std::shared_ptr<detail::MappedFile> file;
  std::string_view text;
  std::size_t next = 0;
  std::int64_t number = 0;
};

LineReader::LineReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->file = detail::MappedFile::open(path);
  impl_->text = impl_->file->text();
  if (impl_->text.starts_with(kByteOrderMark)) impl_->next = kByteOrderMark.size();
}

LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;

std::optional<Line> LineReader::next() {
  const std::string_view text = impl_->text;
  if (impl_->next >= text.size()) return std::nullopt;
  const std::size_t begin = impl_->next;
  const std::size_t end = std::min(text.find('\n', begin), text.size());
  impl_->next = end + 1;
  std::string_view line = text.substr(begin, end - begin);
  if (end < text.size() && line.ends_with('\r')) line.remove_suffix(1);
  return Line{.text = line, .number = ++impl_->number, .offset = begin};
}

}  // namespace wick

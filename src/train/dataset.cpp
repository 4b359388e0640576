#include "wick/train/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "train/dataset_reader.hpp"
#include "train/shuffle.hpp"
#include "wick/base/error.hpp"

namespace wick {

Dataset Dataset::from_file(const std::filesystem::path& path, const Tokenizer& tokenizer,
                           const DatasetOptions& options) {
  const DatasetReader reader(tokenizer, options);
  return path.extension() == ".txt" ? reader.read_document(path) : reader.read_lines(path);
}

Dataset Dataset::from_texts(std::span<const std::string> texts, const Tokenizer& tokenizer,
                            const DatasetOptions& options) {
  return DatasetReader(tokenizer, options).read_texts(texts);
}

void Dataset::add(std::span<const std::int32_t> ids, std::span<const std::uint8_t> is_target) {
  if (ids.empty()) throw Error(ErrorKind::kArgument, "data set", "a sample must have tokens");
  if (ids.size() != is_target.size()) {
    throw Error(
        ErrorKind::kArgument, "data set",
        fmt::format("a sample has {} ids, but {} marks of targets", ids.size(), is_target.size()));
  }
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  is_target_.insert(is_target_.end(), is_target.begin(), is_target.end());
  ends_.push_back(static_cast<std::int64_t>(ids_.size()));
}

Sample Dataset::operator[](std::int64_t i) const {
  if (i < 0 || i >= size()) {
    throw Error(ErrorKind::kArgument, "data set",
                fmt::format("there is no sample {}: the data set has {}", i, size()));
  }
  const auto number = static_cast<std::size_t>(i);
  const auto begin = static_cast<std::size_t>(number == 0 ? 0 : ends_[number - 1]);
  const std::size_t length = static_cast<std::size_t>(ends_[number]) - begin;
  return {.ids = std::span(ids_).subspan(begin, length),
          .is_target = std::span(is_target_).subspan(begin, length)};
}

std::int64_t Dataset::num_targets() const {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < size(); ++i) {
    for (const std::uint8_t mark : (*this)[i].is_target.subspan(1)) count += mark != 0 ? 1 : 0;
  }
  return count;
}

std::int64_t Dataset::max_length() const {
  std::int64_t longest = 0;
  std::int64_t begin = 0;
  for (const std::int64_t end : ends_) {
    longest = std::max(longest, end - begin);
    begin = end;
  }
  return longest;
}

std::uint64_t Dataset::fingerprint() const {
  std::uint64_t hash = static_cast<std::uint64_t>(size());
  const auto take = [&](std::uint64_t word) { hash = detail::spread_bits(hash ^ word) + word; };
  for (std::int64_t i = 0; i < size(); ++i) {
    const Sample sample = (*this)[i];
    take(sample.ids.size());
    for (std::size_t t = 0; t < sample.ids.size(); ++t) {
      const std::uint64_t mark = sample.is_target[t] != 0 ? 1 : 0;
      take(mark << 32 | static_cast<std::uint32_t>(sample.ids[t]));
    }
  }
  return hash;
}

}  // namespace wick

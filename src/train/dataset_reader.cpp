#include "train/dataset_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "base/thread_pool.hpp"
#include "train/records.hpp"
#include "wick/base/error.hpp"
#include "wick/io/jsonl.hpp"
#include "wick/runtime/settings.hpp"

namespace wick {

namespace {

// Work for one thread at a time: small enough to share evenly, large enough to be worth it.
constexpr std::size_t kBlockBytes = std::size_t{1} << 18;
constexpr std::size_t kBlocksPerThread = 4;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct Block {
  std::vector<Line> lines;
  detail::SampleBlock samples;
  std::exception_ptr failure;
};

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

// The lines of a file; a blank one at the end is none.
class RecordLines {
 public:
  explicit RecordLines(const std::filesystem::path& path) : reader_(path), next_(reader_.next()) {}

  std::optional<Line> next() {
    const std::optional<Line> line = next_;
    if (!line) return std::nullopt;
    next_ = reader_.next();
    if (!next_ && is_blank(line->text)) return std::nullopt;
    return line;
  }

 private:
  LineReader reader_;
  std::optional<Line> next_;
};

std::vector<Block> next_blocks(RecordLines& lines, std::size_t count) {
  std::vector<Block> blocks;
  std::size_t bytes = kBlockBytes;
  while (const auto line = lines.next()) {
    if (bytes >= kBlockBytes) {
      blocks.emplace_back();
      bytes = 0;
    }
    blocks.back().lines.push_back(*line);
    bytes += line->text.size() + 1;
    if (bytes >= kBlockBytes && blocks.size() == count) break;
  }
  return blocks;
}

// Runs `read`; what it throws gets the place before it.
template <class Read, class Place>
auto read_at(const Place& place, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    std::string rule = error.op().empty() ? error.rule() : error.op() + ": " + error.rule();
    throw Error(error.kind(), place(), std::move(rule), error.operands(), error.hint());
  }
}

template <class Read>
auto read_line_at(const std::filesystem::path& path, const Line& line, const Read& read) {
  const auto place = [&] { return fmt::format("{}:{}", path.string(), line.number); };
  return read_at(place, [&] {
    if (is_blank(line.text)) {
      throw Error(ErrorKind::kParse, "", "the line is blank, but must hold a JSON object");
    }
    return read();
  });
}

[[noreturn]] void refuse_empty(const std::filesystem::path& path, std::string_view what) {
  throw Error(ErrorKind::kParse, path.string(), std::string(what));
}

}  // namespace

void DatasetReader::append(const detail::SampleBlock& block, Dataset& dataset) {
  const auto before = static_cast<std::int64_t>(dataset.ids_.size());
  dataset.ids_.insert(dataset.ids_.end(), block.ids.begin(), block.ids.end());
  dataset.is_target_.insert(dataset.is_target_.end(), block.is_target.begin(),
                            block.is_target.end());
  for (const std::int64_t end : block.ends) dataset.ends_.push_back(before + end);
  dataset.num_truncated_ += block.num_truncated;
}

Dataset DatasetReader::read_lines(const std::filesystem::path& path) const {
  RecordLines lines(path);
  detail::ThreadPool pool(num_threads());
  const std::size_t wave = kBlocksPerThread * static_cast<std::size_t>(pool.num_threads());
  std::vector<Block> blocks = next_blocks(lines, wave);
  if (blocks.empty()) refuse_empty(path, "holds no records");
  const Line& head = blocks.front().lines.front();
  const detail::RecordKind kind =
      read_line_at(path, head, [&] { return detail::kind_of_record(head.text); });
  const auto read_block = [&](Block& block) noexcept {
    try {
      for (const Line& line : block.lines) {
        read_line_at(path, line, [&] {
          encoder_.encode(detail::parse_record(line.text, kind), block.samples);
        });
      }
    } catch (...) {
      block.failure = std::current_exception();
    }
  };
  Dataset dataset;
  for (; !blocks.empty(); blocks = next_blocks(lines, wave)) {
    pool.parallel_for(static_cast<std::int64_t>(blocks.size()), 1,
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t i = begin; i < end; ++i) {
                          read_block(blocks[static_cast<std::size_t>(i)]);
                        }
                      });
    for (const Block& block : blocks) {
      if (block.failure) std::rethrow_exception(block.failure);
      append(block.samples, dataset);
    }
  }
  return dataset;
}

Dataset DatasetReader::read_document(const std::filesystem::path& path) const {
  const std::string content = detail::read_text_file(path);
  std::string_view text = content;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (text.empty()) refuse_empty(path, "holds no text");
  detail::SampleBlock samples;
  read_at([&] { return path.string(); }, [&] { encoder_.encode_text(text, samples); });
  Dataset dataset;
  append(samples, dataset);
  return dataset;
}

Dataset DatasetReader::read_texts(std::span<const std::string> texts) const {
  Dataset dataset;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    detail::SampleBlock samples;
    read_at([&] { return fmt::format("text {}", i); },
            [&] {
              if (texts[i].empty()) throw Error(ErrorKind::kArgument, "", "must not be empty");
              encoder_.encode_text(texts[i], samples);
            });
    append(samples, dataset);
  }
  return dataset;
}

}  // namespace wick

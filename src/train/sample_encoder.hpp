#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "train/chat_encoding.hpp"
#include "train/records.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/dataset.hpp"

namespace wick::detail {

/// Samples one behind the other: ids and marks of all, and where each ends.
struct SampleBlock {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> is_target;
  std::vector<std::int64_t> ends;
  std::int64_t num_truncated = 0;

  void add(std::span<const std::int32_t> sample_ids, std::span<const std::uint8_t> marks);
};

/// Turns records into samples. Safe to use from many threads.
class SampleEncoder {
 public:
  /// Keeps references. Throws Error kArgument for options out of range.
  SampleEncoder(const Tokenizer& tokenizer, const DatasetOptions& options);

  /// Appends the samples of a record. Throws Error with what is wrong with the record; its place is the caller's to add.
  void encode(const Record& record, SampleBlock& block) const;
  /// Appends a text, cut into pieces that overlap by one token where it is too long.
  void encode_text(std::string_view text, SampleBlock& block) const;

 private:
  struct Marked;

  void encode_prompt(const PromptRecord& record, SampleBlock& block) const;
  void encode_chat(const ChatRecord& record, SampleBlock& block) const;
  Marked mark_turns(const EncodedChat& chat, std::int32_t first_learnt) const;
  const ChatTemplate& chat_template() const;
  void append_end(std::vector<std::int32_t>& ids) const;
  void add_shortened(Marked sample, SampleBlock& block) const;

  const Tokenizer& tokenizer_;
  const DatasetOptions& options_;
  ChatEncoder chat_encoder_;
};

}  // namespace wick::detail

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wick/text/chat_template.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

/// Which tokens of a record are learnt.
enum class LossMask {
  kAuto,      ///< text: all; prompt/completion: the completion; messages: every assistant turn
  kAll,       ///< everything, prompts included
  kLastTurn,  ///< of messages the last assistant turn only (mlx-lm's mask_prompt)
};

/// How records become token ids.
struct DatasetOptions {
  std::int64_t max_seq_length = 2048;  ///< tokens of a sample at most; at least 2
  LossMask mask = LossMask::kAuto;
  /// how {"messages"} are written; also applied to {"prompt","completion"} when `template_for_prompts`
  std::optional<ChatTemplate> chat_template = {};
  bool template_for_prompts = false;
  /// appended to texts and completions that lack it
  std::optional<std::int32_t> eos_token_id = {};
};

/// One example: ids, and for each whether it is a target of the loss.
struct Sample {
  std::span<const std::int32_t> ids;
  std::span<const std::uint8_t> is_target;
};

/// Tokenized examples, in the order of their files. Nothing is dropped:
///
/// - A text longer than max_seq_length becomes several samples. Each begins with the last token of the one before, so
///   that every token but the text's first is a target once.
/// - A longer prompt with completion, or conversation, is cut, and num_truncated() counts it: first the beginning of what
///   comes before the first learnt answer, as far as that helps to keep this answer whole (a beginning-of-text token
///   stays), then the end.
class Dataset {
 public:
  Dataset() = default;
  /// Reads a file: JSON lines of {"text"}, {"prompt","completion"} or {"messages"} (one kind in a file, known by its first
  /// record), or plain text (.txt) as one document. Prompt and completion are two strings or two lists of messages; other
  /// keys are ignored; a blank line is allowed at the end only. Special tokens written in texts, prompts and completions
  /// are read as such, in messages they are ordinary text. Throws Error kIo; kParse with file, line and what is wrong with
  /// the record, and for a file without records; kUnsupported with file and line for tools and for content that is not
  /// text; kArgument for options out of range, messages without a chat template, and a template whose end of turn the
  /// tokenizer does not have.
  static Dataset from_file(const std::filesystem::path& path, const Tokenizer& tokenizer,
                           const DatasetOptions& options);
  /// Texts, as if each were a {"text"} record. Throws Error kArgument, kParse with the number of the text.
  static Dataset from_texts(std::span<const std::string> texts, const Tokenizer& tokenizer,
                            const DatasetOptions& options);

  /// Adds one example. Throws Error kArgument when the sizes differ, or ids are empty.
  void add(std::span<const std::int32_t> ids, std::span<const std::uint8_t> is_target);
  /// Number of samples.
  std::int64_t size() const noexcept { return static_cast<std::int64_t>(ends_.size()); }
  /// Sample i of [0, size()); valid until the data set changes. Throws Error kArgument for another i.
  Sample operator[](std::int64_t i) const;
  /// Tokens of all samples.
  std::int64_t num_tokens() const noexcept { return static_cast<std::int64_t>(ids_.size()); }
  /// Tokens that are targets of the loss: those marked, except the first of a sample, which nothing precedes.
  std::int64_t num_targets() const;
  /// The longest sample.
  std::int64_t max_length() const;
  /// Records that were cut.
  std::int64_t num_truncated() const noexcept { return num_truncated_; }
  /// A number that differs when any id, mark or sample's length differs: resuming checks it. The same on every machine.
  std::uint64_t fingerprint() const;

 private:
  friend class DatasetReader;
  std::vector<std::int32_t> ids_;
  std::vector<std::uint8_t> is_target_;
  std::vector<std::int64_t> ends_;
  std::int64_t num_truncated_ = 0;
};

/// The files of a data set.
struct DataFiles {
  std::filesystem::path train;
  std::filesystem::path valid;  ///< empty when there is none
  std::filesystem::path test;   ///< empty when there is none
};

/// Finds the files behind a path: one file, or of a folder `train`, `valid` (or `validation`, `val`) and `test`, each
/// .jsonl or .txt. Throws Error kIo when there is no training file, kArgument when there are two of a kind.
DataFiles find_data_files(const std::filesystem::path& path);

}  // namespace wick

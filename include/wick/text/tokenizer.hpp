#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wick {

/// How encode() treats its text.
struct EncodeOptions {
  /// apply the post-processor: the tokens that the tokenizer puts around every text (BOS, [CLS] …)
  bool add_special_tokens = true;
  /// read tokens marked special (`<|im_end|>`) that stand in the text as such; false splits them up like any text, so
  /// that what a user typed cannot end a turn
  bool parse_special_tokens = true;
};

/// Text to token ids and back, as described by a tokenizer.json. Immutable; safe to use from many threads.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one of a folder. Throws Error kIo; kParse with the place of a broken rule;
  /// kUnsupported naming a component that is not known. `truncation` and `padding` of the file are not applied:
  /// lengths are the caller's business.
  static Tokenizer from_file(const std::filesystem::path& path);
  /// As above from text; `where` names it in errors.
  static Tokenizer from_json(std::string_view json, std::string_view where = "tokenizer.json");

  /// Ids of a text. Text that is not valid UTF-8 throws Error kArgument with the byte.
  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  /// Text of ids. Bytes that do not form UTF-8 become U+FFFD, as in the reference. Throws Error kArgument for an id
  /// that does not exist, with its position.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  /// The largest id + 1.
  std::int64_t vocab_size() const;
  /// Id of a token written as in the vocabulary ("Ġthe", "</s>").
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// A token as it is written in the vocabulary; nothing for an id that does not exist.
  std::optional<std::string> id_to_token(std::int32_t id) const;
  /// True for added tokens marked special.
  bool is_special(std::int32_t id) const;
  /// The tokens that add_special_tokens puts before and after a single text.
  const std::vector<std::int32_t>& prefix_ids() const;
  /// As above, after.
  const std::vector<std::int32_t>& suffix_ids() const;

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

/// Turns ids that arrive one by one into text. What it has returned is always valid UTF-8 and never taken back: bytes of
/// an unfinished character wait for the next token. The pieces joined are decode() of all ids.
class TextStream {
 public:
  /// Keeps the tokenizer.
  explicit TextStream(Tokenizer tokenizer, bool skip_special_tokens = true);
  /// The text that has become certain with this id; may be empty.
  std::string push(std::int32_t id);
  /// The rest, with U+FFFD for bytes that never became a character.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  std::vector<std::int32_t> ids_;
  std::size_t text_begin_ = 0;
  std::size_t sent_ = 0;
};

}  // namespace wick

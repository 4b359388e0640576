#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.hpp"

namespace wick::detail {

struct TextHash {
  using is_transparent = void;  // NOLINT(readability-identifier-naming): the name std wants
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};

/// Tokens and their ids, both ways.
class Vocabulary {
 public:
  /// Throws Error kParse for an id that is negative, given twice or beyond 2^31, and for no tokens at all.
  Vocabulary(const Json& tokens, const std::string& where);
  Vocabulary() = default;
  /// Throws Error kParse for a token or id that is there already.
  void add(const std::string& token, std::int64_t id, const std::string& where);

  std::optional<std::int32_t> id(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  const std::string* token(std::int64_t id) const {
    const auto found = tokens_.find(id);
    return found == tokens_.end() ? nullptr : &found->second;
  }
  std::size_t size() const { return ids_.size(); }
  std::int64_t largest_id() const { return largest_id_; }

 private:
  std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>> ids_;
  std::unordered_map<std::int64_t, std::string> tokens_;
  std::int64_t largest_id_ = -1;
};

using TokenSet = std::unordered_set<std::int32_t>;

/// Turns one piece of text into ids.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of a piece, which is never empty.
  virtual void encode(std::string_view piece, std::vector<std::int32_t>& ids) const = 0;
  /// As above with none of these tokens, for text that must not be read as them. The model's own choice where encode()
  /// would use one.
  virtual void encode_without(const TokenSet& avoided, std::string_view piece,
                              std::vector<std::int32_t>& ids) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }
  /// The token for what has none.
  std::optional<std::int32_t> unk_id() const { return unk_id_; }

 protected:
  Vocabulary vocabulary_;
  std::optional<std::int32_t> unk_id_;
};

/// Reads "model" of a tokenizer.json. Throws Error kParse, kUnsupported.
std::unique_ptr<TokenModel> make_token_model(const Json& json, const std::string& where);

std::unique_ptr<TokenModel> make_bpe(const Json& json, const std::string& where);
std::unique_ptr<TokenModel> make_unigram(const Json& json, const std::string& where);
std::unique_ptr<TokenModel> make_wordpiece(const Json& json, const std::string& where);

/// How vocabularies write the token of a byte: "<0x0A>".
std::string byte_token(int byte);

/// The tokens `<0x00>` … `<0xFF>` of a vocabulary with byte fallback, or nothing where one is missing.
class ByteTokens {
 public:
  ByteTokens() : ids_(256, -1) {}
  explicit ByteTokens(const Vocabulary& vocabulary);
  /// Appends the tokens of the bytes; false, and nothing appended, when one has no token.
  bool append(std::string_view bytes, std::vector<std::int32_t>& ids) const;

 private:
  std::vector<std::int32_t> ids_;
};

}  // namespace wick::detail

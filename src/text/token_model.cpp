#include "text/token_model.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::int64_t kLargestId = (std::int64_t{1} << 31) - 2;

[[noreturn]] void fail(const std::string& rule) {
  throw Error(ErrorKind::kParse, "tokenizer", rule);
}

}  // namespace

void Vocabulary::add(const std::string& token, std::int64_t id, const std::string& where) {
  if (id < 0 || id > kLargestId) {
    fail(where + ": token " + quote(token) + ": id " + std::to_string(id) +
         " must be between 0 and 2147483646");
  }
  if (!ids_.emplace(token, static_cast<std::int32_t>(id)).second) {
    fail(where + ": token " + quote(token) + " is there twice");
  }
  if (!tokens_.emplace(id, token).second) {
    fail(where + ": id " + std::to_string(id) + " belongs to two tokens, " +
         quote(*this->token(id)) + " and " + quote(token));
  }
  largest_id_ = std::max(largest_id_, id);
}

Vocabulary::Vocabulary(const Json& tokens, const std::string& where) {
  if (!tokens.is_object() || tokens.empty()) fail(where + ": must be an object with tokens");
  ids_.reserve(tokens.size());
  tokens_.reserve(tokens.size());
  for (const auto& [token, id] : tokens.items()) {
    if (!id.is_number_integer()) {
      fail(where + ": token " + quote(token) + ": id must be an integer, got " + describe(id));
    }
    add(token,
        id.is_number_unsigned() && id.get<std::uint64_t>() > kLargestId ? kLargestId + 1
                                                                        : id.get<std::int64_t>(),
        where);
  }
}

std::string byte_token(int byte) { return fmt::format("<0x{:02X}>", byte); }

ByteTokens::ByteTokens(const Vocabulary& vocabulary) : ids_(256, -1) {
  for (std::size_t byte = 0; byte < ids_.size(); ++byte) {
    if (const auto id = vocabulary.id(byte_token(static_cast<int>(byte)))) ids_[byte] = *id;
  }
}

bool ByteTokens::append(std::string_view bytes, std::vector<std::int32_t>& ids) const {
  const auto id_of = [&](char byte) { return ids_[static_cast<unsigned char>(byte)]; };
  if (!std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return id_of(byte) >= 0; })) {
    return false;
  }
  for (const char byte : bytes) ids.push_back(id_of(byte));
  return true;
}

std::unique_ptr<TokenModel> make_token_model(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  std::string type = fields.string("type", "");
  // Old files name no type; what they hold tells.
  if (type.empty() && json.contains("merges")) type = "BPE";
  if (type.empty() && json.contains("unk_id")) type = "Unigram";
  if (type == "BPE") return make_bpe(json, where);
  if (type == "Unigram") return make_unigram(json, where);
  if (type == "WordPiece") return make_wordpiece(json, where);
  throw Error(ErrorKind::kUnsupported, "tokenizer",
              where + ": type " + quote(type) + " is not one of BPE, Unigram, WordPiece");
}

}  // namespace wick::detail

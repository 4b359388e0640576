#include "text/added_tokens.hpp"

#include <algorithm>

#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

bool is_word_before(std::string_view text, std::size_t at) {
  return at > 0 && is_word(code_point_before(text, at).value);
}

bool is_word_after(std::string_view text, std::size_t at) {
  return at < text.size() && is_word(code_point_at(text, at).value);
}

}  // namespace

void AddedTokens::add(ByFirstByte& tokens, Token token) {
  if (token.content.empty()) return;
  std::vector<Token>& list = tokens[static_cast<unsigned char>(token.content[0])];
  list.push_back(std::move(token));
  std::sort(list.begin(), list.end(), [](const Token& left, const Token& right) {
    return left.content.size() > right.content.size();
  });
}

AddedTokens::AddedTokens(const Json& json, const std::string& where, const Normalizer& normalizer) {
  if (json.is_null()) return;
  if (!json.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  for (std::size_t i = 0; i < json.size(); ++i) {
    const JsonFields fields(json[i], where + "[" + std::to_string(i) + "]");
    Token token{.content = fields.string("content"),
                .single_word = fields.boolean("single_word", false),
                .lstrip = fields.boolean("lstrip", false),
                .rstrip = fields.boolean("rstrip", false),
                .special = fields.boolean("special", false)};
    const std::int64_t id = fields.integer("id");
    if (token.content.empty()) fields.fail("content", "must not be empty");
    vocabulary_.add(token.content, id, fields.where());
    token.id = static_cast<std::int32_t>(id);
    if (token.special) special_.insert(token.id);
    if (fields.boolean("normalized", !token.special)) {
      if (normalizer) token.content = normalizer(token.content);
      has_normalized_ = true;
      add(normalized_, std::move(token));
    } else {
      has_raw_ = true;
      add(raw_, std::move(token));
    }
  }
}

const AddedTokens::Token* AddedTokens::match(const ByFirstByte& tokens, std::string_view text,
                                             std::size_t at, bool special) {
  for (const Token& token : tokens[static_cast<unsigned char>(text[at])]) {
    if (token.special && !special) continue;
    if (text.compare(at, token.content.size(), token.content) == 0) return &token;
  }
  return nullptr;
}

// Leftmost longest matches; a token with lstrip or rstrip takes the white space beside it along.
void AddedTokens::cut(const ByFirstByte& tokens, const Segment& segment, bool special,
                      std::vector<Segment>& out) {
  const std::string_view text = segment.text;
  std::size_t done = 0;
  const auto keep = [&](std::size_t end) {
    if (end > done) {
      out.push_back(
          {std::string(text.substr(done, end - done)), -1, segment.is_first && done == 0});
    }
  };
  for (std::size_t at = 0; at < text.size();) {
    const Token* token = match(tokens, text, at, special);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word && (is_word_before(text, begin) || is_word_after(text, end))) continue;
    while (token->lstrip && begin > done) {
      const CodePoint c = code_point_before(text, begin);
      if (!is_white_space(c.value)) break;
      begin -= c.size;
    }
    while (token->rstrip && end < text.size()) {
      const CodePoint c = code_point_at(text, end);
      if (!is_white_space(c.value)) break;
      end += c.size;
    }
    keep(begin);
    out.push_back({token->content, token->id, false});
    done = end;
    at = end;
  }
  keep(text.size());
}

std::vector<Segment> AddedTokens::split(std::string_view text, const Normalizer& normalizer,
                                        bool special) const {
  std::vector<Segment> raw;
  const Segment whole{std::string(text), -1, true};
  if (!has_raw_) {
    raw.push_back(whole);
  } else {
    cut(raw_, whole, special, raw);
  }
  if (!normalizer && !has_normalized_) return raw;
  std::vector<Segment> result;
  for (Segment& segment : raw) {
    if (segment.id >= 0) {
      result.push_back(std::move(segment));
      continue;
    }
    if (normalizer) segment.text = normalizer(segment.text);
    cut(normalized_, segment, special, result);
  }
  return result;
}

}  // namespace wick::detail

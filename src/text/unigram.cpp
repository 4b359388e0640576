// Unigram language model: Kudo 2018, https://arxiv.org/abs/1804.10959.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/quote.hpp"
#include "text/token_model.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// What a character that is no piece costs beyond the worst piece.
constexpr double kUnknownPenalty = 10;

// Pieces by their bytes, for finding every piece that begins at a place.
class Trie {
  template <class Container>
  static auto lower_bound(Container& children, char byte) {
    return std::lower_bound(children.begin(), children.end(), byte,
                            [](const auto& child, char wanted) { return child.first < wanted; });
  }

 public:
  Trie() : nodes_(1) {}
  void add(std::string_view piece, std::int32_t id) {
    std::size_t node = 0;
    for (const char byte : piece) {
      auto& children = nodes_[node].children;
      const auto place = lower_bound(children, byte);
      const auto offset = place - children.begin();
      if (place == children.end() || place->first != byte) {
        const auto fresh = static_cast<std::uint32_t>(nodes_.size());
        children.insert(place, {byte, fresh});
        nodes_.emplace_back();
      }
      node = nodes_[node].children[static_cast<std::size_t>(offset)].second;
    }
    nodes_[node].id = id;
  }
  // Calls found(length, id) for every piece at the beginning of `text`, shortest first.
  template <class Found>
  void prefixes(std::string_view text, Found&& found) const {
    std::size_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto& children = nodes_[node].children;
      const auto place = lower_bound(children, text[i]);
      if (place == children.end() || place->first != text[i]) return;
      node = place->second;
      if (nodes_[node].id >= 0) found(i + 1, nodes_[node].id);
    }
  }

 private:
  using Children = std::vector<std::pair<char, std::uint32_t>>;
  struct Node {
    Children children;
    std::int32_t id = -1;
  };
  std::vector<Node> nodes_;
};

class Unigram : public TokenModel {
 public:
  Unigram(const Json& json, const std::string& where);
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override {
    encode_without({}, piece, ids);
  }
  void encode_without(const TokenSet& avoided, std::string_view piece,
                      std::vector<std::int32_t>& ids) const override;

 private:
  void read_pieces(const Json& pieces, const std::string& where);
  void append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const;

  Trie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  bool byte_fallback_ = false;
  ByteTokens byte_tokens_;
};

Unigram::Unigram(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  read_pieces(fields.require("vocab"), where + ".vocab");
  byte_fallback_ = fields.boolean("byte_fallback", false);
  if (byte_fallback_) byte_tokens_ = ByteTokens(vocabulary_);
  if (fields.find("unk_id") == nullptr) return;
  const std::int64_t unk = fields.integer("unk_id");
  if (vocabulary_.token(unk) == nullptr) {
    fields.fail("unk_id", std::to_string(unk) + " is not an id of the vocabulary");
  }
  unk_id_ = static_cast<std::int32_t>(unk);
}

void Unigram::read_pieces(const Json& pieces, const std::string& where) {
  const auto fail = [&](const std::string& problem) {
    throw Error(ErrorKind::kParse, "tokenizer", where + problem);
  };
  if (!pieces.is_array() || pieces.empty()) fail(": must be a list of [piece, score]");
  double worst = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Json& entry = pieces[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fail("[" + std::to_string(i) + "]: must be [piece, score], got " + describe(entry));
    }
    const auto& piece = entry[0].get_ref<const std::string&>();
    vocabulary_.add(piece, static_cast<std::int64_t>(i), where);
    scores_.push_back(entry[1].get<double>());
    if (!std::isfinite(scores_.back())) fail("[" + std::to_string(i) + "]: score is not finite");
    worst = std::min(worst, scores_.back());
    if (!piece.empty()) trie_.add(piece, static_cast<std::int32_t>(i));
  }
  unknown_score_ = worst - kUnknownPenalty;
}

void Unigram::append_unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
  if (byte_fallback_ && byte_tokens_.append(text, ids)) return;
  if (!unk_id_) {
    throw Error(ErrorKind::kArgument, "tokenizer",
                "the vocabulary has neither a piece for " + quote(text) + " nor an unknown token");
  }
  ids.push_back(*unk_id_);
}

// Viterbi: the best way to reach each byte, from left to right.
void Unigram::encode_without(const TokenSet& avoided, std::string_view piece,
                             std::vector<std::int32_t>& ids) const {
  struct Best {
    double score = 0;
    std::int64_t begin = -1;
    std::int32_t id = -1;  // -1: an unknown character
  };
  std::vector<Best> best(piece.size() + 1);
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t size = code_point_at(piece, at).size;
    const double before = best[at].score;
    bool has_character = false;
    const auto offer = [&](std::size_t length, double score, std::int32_t id) {
      Best& target = best[at + length];
      if (target.begin < 0 || before + score > target.score) {
        target = {before + score, static_cast<std::int64_t>(at), id};
      }
    };
    trie_.prefixes(piece.substr(at), [&](std::size_t length, std::int32_t id) {
      if (avoided.contains(id)) return;
      offer(length, scores_[static_cast<std::size_t>(id)], id);
      has_character = has_character || length == size;
    });
    if (!has_character) offer(size, unknown_score_, -1);
    at += size;
  }
  std::vector<std::pair<std::string_view, std::int32_t>> path;
  for (std::size_t end = piece.size(); end > 0;) {
    const auto begin = static_cast<std::size_t>(best[end].begin);
    const bool is_unknown = best[end].id < 0 || best[end].id == unk_id_.value_or(-1);
    // Unknown characters that follow each other are one unknown stretch.
    if (is_unknown && !path.empty() && path.back().second < 0) {
      path.back().first = piece.substr(begin, end - begin + path.back().first.size());
    } else {
      path.emplace_back(piece.substr(begin, end - begin), is_unknown ? -1 : best[end].id);
    }
    end = begin;
  }
  for (auto step = path.rbegin(); step != path.rend(); ++step) {
    if (step->second >= 0) {
      ids.push_back(step->second);
    } else {
      append_unknown(step->first, ids);
    }
  }
}

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const Json& json, const std::string& where) {
  return std::make_unique<Unigram>(json, where);
}

}  // namespace wick::detail

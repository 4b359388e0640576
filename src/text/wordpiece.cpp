// WordPiece by greedy longest match: Devlin et al. 2018, https://arxiv.org/abs/1810.04805.

#include <algorithm>

#include "base/quote.hpp"
#include "text/token_model.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

class WordPiece : public TokenModel {
 public:
  WordPiece(const Json& json, const std::string& where) {
    const JsonFields fields(json, where);
    vocabulary_ = Vocabulary(fields.require("vocab"), where + ".vocab");
    prefix_ = fields.string("continuing_subword_prefix", "##");
    max_characters_ = static_cast<std::size_t>(fields.positive("max_input_chars_per_word", 100));
    const std::string unk = fields.string("unk_token", "[UNK]");
    unk_id_ = vocabulary_.id(unk);
    if (!unk_id_) fields.fail("unk_token", quote(unk) + " is not in the vocabulary");
  }

  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const override {
    encode_without({}, piece, ids);
  }

  void encode_without(const TokenSet& avoided, std::string_view piece,
                      std::vector<std::int32_t>& ids) const override {
    const auto is_first_byte = [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    };
    const auto characters = std::count_if(piece.begin(), piece.end(), is_first_byte);
    const std::size_t before = ids.size();
    if (static_cast<std::size_t>(characters) > max_characters_ || !append(avoided, piece, ids)) {
      ids.resize(before);
      ids.push_back(*unk_id_);
    }
  }

 private:
  // False when some part of the word has no token.
  bool append(const TokenSet& avoided, std::string_view piece,
              std::vector<std::int32_t>& ids) const {
    std::string token;
    for (std::size_t begin = 0; begin < piece.size();) {
      std::optional<std::int32_t> id;
      std::size_t end = piece.size();
      while (end > begin && !id) {
        token = begin > 0 ? prefix_ : "";
        token += piece.substr(begin, end - begin);
        id = vocabulary_.id(token);
        if (id && avoided.contains(*id)) id.reset();
        if (!id) end -= code_point_before(piece, end).size;
      }
      if (!id) return false;
      ids.push_back(*id);
      begin = end;
    }
    return true;
  }

  std::string prefix_;
  std::size_t max_characters_ = 100;
};

}  // namespace

std::unique_ptr<TokenModel> make_wordpiece(const Json& json, const std::string& where) {
  return std::make_unique<WordPiece>(json, where);
}

}  // namespace wick::detail

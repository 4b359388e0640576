#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "text/regex.hpp"

namespace wick::detail {

/// Throws Error kUnsupported: `<where>: type "X" is not supported`.
[[noreturn]] void unknown_component(const JsonFields& fields);

/// {"String": text} or {"Regex": expression}. Throws Error kParse.
Pattern read_pattern(const Json& json, const std::string& where);

/// Rewrites a text before it is split.
using Normalizer = std::function<std::string(std::string_view)>;
/// Reads "normalizer"; null gives an empty function. Throws Error kParse, kUnsupported.
Normalizer make_normalizer(const Json& json, const std::string& where);

/// A piece of text on its way to the model.
struct Piece {
  std::string text;
  bool is_first = false;  ///< it begins where the whole text begins
};
using Pieces = std::vector<Piece>;
/// Cuts pieces into smaller ones.
using PreTokenizer = std::function<Pieces(Pieces)>;
/// Reads "pre_tokenizer"; null gives an empty function. Throws Error kParse, kUnsupported.
PreTokenizer make_pre_tokenizer(const Json& json, const std::string& where);

/// Tokens that stand around every text.
struct Frame {
  std::vector<std::int32_t> prefix;
  std::vector<std::int32_t> suffix;
};
/// Reads "post_processor"; null gives an empty frame. Throws Error kParse, kUnsupported.
Frame make_frame(const Json& json, const std::string& where);

/// Turns the texts of tokens into texts that, joined, are the decoded text.
using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;
/// Reads "decoder"; null gives an empty function. Throws Error kParse, kUnsupported.
Decoder make_decoder(const Json& json, const std::string& where);

}  // namespace wick::detail

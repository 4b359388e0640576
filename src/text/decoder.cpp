#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "text/byte_level.hpp"
#include "text/components.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

using Texts = std::vector<std::string>;

std::string joined(const Texts& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

// Spaces before punctuation and shortened words, as English has none there.
std::string cleaned_up(std::string text) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules{
      {{" .", "."},
       {" ?", "?"},
       {" !", "!"},
       {" ,", ","},
       {" ' ", "'"},
       {" n't", "n't"},
       {" 'm", "'m"},
       {" do not", " don't"},
       {" 's", "'s"},
       {" 've", "'ve"},
       {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) {
    text = Pattern::text(std::string(from)).replace(text, to);
  }
  return text;
}

Texts decode_byte_level(const Texts& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) bytes += characters_to_bytes(token);
  return {lossy_utf8(bytes)};
}

std::optional<char> fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

// A run of byte tokens is text when all of it is UTF-8, else one U+FFFD a byte.
Texts decode_byte_fallback(Texts tokens) {
  Texts result;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (first_invalid_utf8(bytes) == bytes.size()) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), "\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes.push_back(*byte);
    } else {
      flush();
      result.push_back(std::move(token));
    }
  }
  flush();
  return result;
}

Decoder make_wordpiece_decoder(const JsonFields& fields) {
  const std::string prefix = fields.string("prefix", "##");
  const bool cleans = fields.boolean("cleanup", true);
  return [=](Texts tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.starts_with(prefix)) {
          token.erase(0, prefix.size());
        } else {
          token.insert(0, 1, ' ');
        }
      }
      if (cleans) token = cleaned_up(std::move(token));
    }
    return tokens;
  };
}

Decoder make_metaspace_decoder(const JsonFields& fields) {
  const Pattern mark = Pattern::text(fields.string("replacement", "\xE2\x96\x81"));
  const bool adds = fields.boolean("add_prefix_space", true);
  const bool drops_first = fields.string("prepend_scheme", adds ? "always" : "never") != "never";
  return [=](Texts tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = mark.replace(tokens[i], i == 0 && drops_first ? "" : " ");
    }
    return tokens;
  };
}

Decoder make_strip(const JsonFields& fields) {
  const std::string content = fields.string("content");
  const std::int64_t start = fields.integer("start", 0);
  const std::int64_t stop = fields.integer("stop", 0);
  if (content.empty()) fields.fail("content", "must be one character");
  return [=](Texts tokens) {
    for (std::string& token : tokens) {
      for (std::int64_t i = 0; i < start && token.starts_with(content); ++i) {
        token.erase(0, content.size());
      }
      for (std::int64_t i = 0; i < stop && token.ends_with(content); ++i) {
        token.erase(token.size() - content.size());
      }
    }
    return tokens;
  };
}

Decoder make_bpe_decoder(const JsonFields& fields) {
  const Pattern suffix = Pattern::text(fields.string("suffix", "</w>"));
  return [=](Texts tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = suffix.replace(tokens[i], i + 1 == tokens.size() ? "" : " ");
    }
    return tokens;
  };
}

Decoder make_ctc(const JsonFields& fields) {
  const Pattern pad = Pattern::text(fields.string("pad_token", "<pad>"));
  const Pattern delimiter = Pattern::text(fields.string("word_delimiter_token", "|"));
  const bool cleans = fields.boolean("cleanup", true);
  return [=](Texts tokens) {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      token = pad.replace(token, "");
      if (cleans) token = delimiter.replace(cleaned_up(std::move(token)), " ");
    }
    std::erase_if(tokens, [](const std::string& token) { return token.empty(); });
    return tokens;
  };
}

Decoder make_sequence(const Json& parts, const std::string& where) {
  if (!parts.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  std::vector<Decoder> steps;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Decoder step = make_decoder(parts[i], where + "[" + std::to_string(i) + "]");
    if (step) steps.push_back(std::move(step));
  }
  return [steps = std::move(steps)](Texts tokens) {
    for (const Decoder& step : steps) tokens = step(std::move(tokens));
    return tokens;
  };
}

}  // namespace

Decoder make_decoder(const Json& json, const std::string& where) {
  if (json.is_null()) return {};
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") return make_sequence(fields.require("decoders"), where);
  if (type == "ByteLevel") return decode_byte_level;
  if (type == "ByteFallback") return decode_byte_fallback;
  if (type == "WordPiece") return make_wordpiece_decoder(fields);
  if (type == "Metaspace") return make_metaspace_decoder(fields);
  if (type == "Strip") return make_strip(fields);
  if (type == "BPEDecoder") return make_bpe_decoder(fields);
  if (type == "CTC") return make_ctc(fields);
  if (type == "Fuse") return [](const Texts& tokens) { return Texts{joined(tokens)}; };
  if (type == "Replace") {
    const Pattern pattern = read_pattern(fields.require("pattern"), where + ".pattern");
    const std::string content = fields.string("content");
    return [=](Texts tokens) {
      for (std::string& token : tokens) token = pattern.replace(token, content);
      return tokens;
    };
  }
  unknown_component(fields);
}

}  // namespace wick::detail

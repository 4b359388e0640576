#include <algorithm>

#include "base/quote.hpp"
#include "text/byte_level.hpp"
#include "text/components.hpp"
#include "text/split_patterns.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// What becomes of the separators that a text is split at.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior read_behavior(const JsonFields& fields, const std::string& otherwise) {
  const std::string name = fields.string("behavior", otherwise);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  fields.fail("behavior", quote(name) + " is not known");
}

// A stretch of a text and whether it is a separator.
struct Stretch {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool is_match = false;
};

// The whole text as matches and what lies between them.
std::vector<Stretch> stretches_of(std::string_view text, const std::vector<Range>& matches) {
  std::vector<Stretch> stretches;
  std::size_t done = 0;
  for (const auto& [begin, end] : matches) {
    if (begin > done) stretches.push_back({done, begin, false});
    stretches.push_back({begin, end, true});
    done = end;
  }
  if (done < text.size()) stretches.push_back({done, text.size(), false});
  return stretches;
}

std::vector<Range> join_stretches(const std::vector<Stretch>& stretches, Behavior behavior) {
  std::vector<Range> pieces;
  bool previous_was_match = false;
  bool is_open = false;  // a separator waits for what follows it
  for (const Stretch& stretch : stretches) {
    const bool extends =
        !pieces.empty() &&
        ((behavior == Behavior::kMergedWithPrevious && stretch.is_match && !previous_was_match) ||
         (behavior == Behavior::kMergedWithNext && !stretch.is_match && is_open) ||
         (behavior == Behavior::kContiguous && stretch.is_match == previous_was_match));
    if (stretch.is_match && behavior == Behavior::kRemoved) {
      previous_was_match = true;
      continue;
    }
    if (extends) {
      pieces.back().second = stretch.end;
    } else {
      pieces.emplace_back(stretch.begin, stretch.end);
    }
    is_open = stretch.is_match;
    previous_was_match = stretch.is_match;
  }
  return pieces;
}

// Splits every piece by a function from text to ranges that stay; empty ones are left out.
template <class Split>
Pieces split_pieces(const Pieces& pieces, Split&& split) {
  Pieces result;
  for (const Piece& piece : pieces) {
    for (const auto& [begin, end] : split(piece.text)) {
      if (begin == end) continue;
      result.push_back({piece.text.substr(begin, end - begin), piece.is_first && begin == 0});
    }
  }
  return result;
}

// Ranges of single characters for which `is_separator` holds.
template <class Predicate>
std::vector<Range> characters(std::string_view text, Predicate&& is_separator) {
  std::vector<Range> found;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (is_separator(c.value)) found.emplace_back(i, i + c.size);
    i += c.size;
  }
  return found;
}

template <class Predicate>
PreTokenizer split_at_characters(Predicate is_separator, Behavior behavior) {
  return [=](const Pieces& pieces) {
    return split_pieces(pieces, [&](std::string_view text) {
      return join_stretches(stretches_of(text, characters(text, is_separator)), behavior);
    });
  };
}

std::vector<Range> known_ranges(KnownSplit kind, std::string_view text) {
  std::vector<Range> ranges;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = next_split(kind, text, begin);
    ranges.emplace_back(begin, end);
    begin = end;
  }
  return ranges;
}

PreTokenizer make_split(const JsonFields& fields) {
  const Pattern pattern = read_pattern(fields.require("pattern"), fields.where() + ".pattern");
  const Behavior behavior = read_behavior(fields, "");
  const bool inverts = fields.boolean("invert", false);
  const auto known = known_split(pattern.expression());
  if (known && behavior == Behavior::kIsolated && !inverts) {
    return [kind = *known](const Pieces& pieces) {
      return split_pieces(pieces, [&](std::string_view text) { return known_ranges(kind, text); });
    };
  }
  return [=](const Pieces& pieces) {
    return split_pieces(pieces, [&](std::string_view text) {
      std::vector<Stretch> stretches = stretches_of(text, pattern.find_all(text));
      if (inverts) {
        for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
      }
      return join_stretches(stretches, behavior);
    });
  };
}

PreTokenizer make_byte_level(const JsonFields& fields) {
  const bool adds_space = fields.boolean("add_prefix_space", true);
  const bool uses_regex = fields.boolean("use_regex", true);
  return [=](Pieces pieces) {
    for (Piece& piece : pieces) {
      if (adds_space && !piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
    }
    if (uses_regex) {
      pieces = split_pieces(
          pieces, [](std::string_view text) { return known_ranges(KnownSplit::kGpt2, text); });
    }
    for (Piece& piece : pieces) piece.text = bytes_to_characters(piece.text);
    return pieces;
  };
}

PreTokenizer make_metaspace(const JsonFields& fields) {
  const std::string mark = fields.string("replacement", "\xE2\x96\x81");
  const bool adds = fields.boolean("add_prefix_space", true);  // the older word for "always"
  const std::string scheme = fields.string("prepend_scheme", adds ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    fields.fail("prepend_scheme", quote(scheme) + " is not one of always, first, never");
  }
  const bool splits = fields.boolean("split", true);
  return [=](Pieces pieces) {
    const Pattern space = Pattern::text(" ");
    const Pattern marks = Pattern::text(mark);
    for (Piece& piece : pieces) {
      piece.text = space.replace(piece.text, mark);
      const bool prepends = scheme == "always" || (scheme == "first" && piece.is_first);
      if (prepends && !piece.text.starts_with(mark)) piece.text.insert(0, mark);
    }
    if (!splits) return pieces;
    return split_pieces(pieces, [&](std::string_view text) {
      return join_stretches(stretches_of(text, marks.find_all(text)), Behavior::kMergedWithNext);
    });
  };
}

// Words and signs apart, space left out: \w+|[^\w\s]+
Pieces split_words(const Pieces& pieces) {
  const auto kind_of = [](char32_t c) { return is_word(c) ? 1 : (is_white_space(c) ? 0 : 2); };
  return split_pieces(pieces, [&](std::string_view text) {
    std::vector<Range> ranges;
    int previous = 0;
    for (std::size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      const int kind = kind_of(c.value);
      if (kind != 0 && kind != previous) ranges.emplace_back(i, i);
      if (kind != 0) ranges.back().second = i + c.size;
      previous = kind;
      i += c.size;
    }
    return ranges;
  });
}

PreTokenizer make_fixed_length(const JsonFields& fields) {
  const std::int64_t length = fields.positive("length", 5);
  return [=](const Pieces& pieces) {
    return split_pieces(pieces, [&](std::string_view text) {
      std::vector<Range> ranges;
      std::int64_t count = 0;
      std::size_t begin = 0;
      for (std::size_t i = 0; i < text.size();) {
        i += code_point_at(text, i).size;
        if (++count % length != 0 && i < text.size()) continue;
        ranges.emplace_back(begin, i);
        begin = i;
      }
      return ranges;
    });
  };
}

PreTokenizer make_sequence(const Json& parts, const std::string& where) {
  if (!parts.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  std::vector<PreTokenizer> steps;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    PreTokenizer step = make_pre_tokenizer(parts[i], where + "[" + std::to_string(i) + "]");
    if (step) steps.push_back(std::move(step));
  }
  return [steps = std::move(steps)](Pieces pieces) {
    for (const PreTokenizer& step : steps) pieces = step(std::move(pieces));
    return pieces;
  };
}

}  // namespace

PreTokenizer make_pre_tokenizer(const Json& json, const std::string& where) {
  if (json.is_null()) return {};
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") return make_sequence(fields.require("pretokenizers"), where);
  if (type == "Split") return make_split(fields);
  if (type == "ByteLevel") return make_byte_level(fields);
  if (type == "Metaspace") return make_metaspace(fields);
  if (type == "Whitespace") return split_words;
  if (type == "WhitespaceSplit") return split_at_characters(is_white_space, Behavior::kRemoved);
  if (type == "FixedLength") return make_fixed_length(fields);
  if (type == "Punctuation") {
    return split_at_characters(is_punctuation, read_behavior(fields, "Isolated"));
  }
  if (type == "Digits") {
    const bool individual = fields.boolean("individual_digits", false);
    return split_at_characters(is_number, individual ? Behavior::kIsolated : Behavior::kContiguous);
  }
  if (type == "CharDelimiterSplit" || type == "Delimiter") {
    const std::string delimiter = fields.string("delimiter");
    if (delimiter.empty()) fields.fail("delimiter", "must be one character");
    const char32_t wanted = code_point_at(delimiter, 0).value;
    return split_at_characters([=](char32_t c) { return c == wanted; }, Behavior::kRemoved);
  }
  if (type == "BertPreTokenizer") {
    const PreTokenizer words = split_at_characters(is_white_space, Behavior::kRemoved);
    const PreTokenizer signs = split_at_characters(is_punctuation, Behavior::kIsolated);
    return [=](Pieces pieces) { return signs(words(std::move(pieces))); };
  }
  unknown_component(fields);
}

}  // namespace wick::detail

#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.hpp"

#include <pcre2.h>

#include <algorithm>
#include <array>

#include "base/quote.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::uint32_t kMatchLimit = 50'000'000;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

PCRE2_SPTR bytes_of(std::string_view text) {
  return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data()));
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  std::string message;
  for (std::size_t i = 0; i < text.size() && text[i] != 0; ++i) {
    message.push_back(static_cast<char>(text[i]));
  }
  return message;
}

// Names of character sets that Oniguruma, for which tokenizer.json is written, defines otherwise than PCRE2.
constexpr std::string_view kWordSet = R"(\p{L}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kHexSet = "0-9A-Fa-f";
constexpr std::string_view kSpaceSet =
    R"(\x09-\x0D\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

// Writes an Oniguruma expression for PCRE2. What the two read differently and this does not translate is refused.
class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) {
      if (in_[at_] == '\\') {
        escape();
      } else if (in_set_) {
        set_member();
      } else {
        outside_set();
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorKind::kUnsupported, "tokenizer",
                std::string(where_) + ": regular expression " + quote(in_) + ": " +
                    std::string(what) + " at byte " + std::to_string(at_) + " is not supported");
  }

  void escape() {
    const char name = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    const bool negates = name == 'W' || name == 'H' || name == 'S';
    const std::string_view set = set_named(name);
    if (set.empty() || (name == 'S' && in_set_)) {
      // Within a set \S differs by one character, the Mongolian vowel separator.
      out_ += in_.substr(at_, 2);
    } else if (in_set_) {
      if (negates) refuse("a negated set within a set");
      out_ += set;
    } else {
      out_ += negates ? "[^" : "[";
      out_ += set;
      out_ += "]";
    }
    at_ += 2;
  }

  static std::string_view set_named(char name) {
    if (name == 'w' || name == 'W') return kWordSet;
    if (name == 'h' || name == 'H') return kHexSet;
    return name == 's' || name == 'S' ? kSpaceSet : std::string_view();
  }

  void set_member() {
    const std::string_view rest = in_.substr(at_);
    if (rest.starts_with("&&")) refuse("&& of two sets");
    if (rest.starts_with("[:")) {
      const std::size_t end = rest.find(":]");
      const std::size_t length = end == std::string_view::npos ? rest.size() : end + 2;
      copy(length);
      return;
    }
    if (rest[0] == '[') refuse("a set within a set");
    in_set_ = rest[0] != ']';
    copy(1);
  }

  void outside_set() {
    const std::string_view rest = in_.substr(at_);
    if (rest[0] == '[') {
      in_set_ = true;
      const std::size_t opening = rest.starts_with("[^") ? 2 : 1;
      // A bracket that comes first is a character.
      copy(opening + (rest.substr(opening).starts_with(']') ? 1 : 0));
      return;
    }
    const std::size_t interval = interval_size(rest);
    if (interval > 0 && rest.substr(interval).starts_with('+')) refuse("{n,m}+");
    if (interval > 0 && rest.starts_with("{,")) {
      out_ += "{0";
      ++at_;
      copy(interval - 1);
    } else {
      copy(std::max<std::size_t>(interval, 1));
    }
  }

  // Bytes of {n}, {n,}, {,m} or {n,m} at the beginning; 0 for anything else.
  static std::size_t interval_size(std::string_view text) {
    if (text[0] != '{') return 0;
    const std::size_t end = text.find_first_not_of("0123456789,", 1);
    const bool closes = end != std::string_view::npos && text[end] == '}' && end > 1;
    return closes ? end + 1 : 0;
  }

  void copy(std::size_t length) {
    out_ += in_.substr(at_, length);
    at_ += length;
  }

  std::string_view in_;
  std::string_view where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_set_ = false;
};

std::string from_oniguruma(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).run();
}

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_context, FreeContext> context;
};

Regex::Regex(const std::string& pattern, std::string_view where) {
  auto impl = std::make_shared<Impl>();
  impl->pattern = pattern;
  const std::string translated = from_oniguruma(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Oniguruma's ^ and $ are those of a line.
  impl->code.reset(pcre2_compile(
      bytes_of(translated), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
      &error, &offset, nullptr));
  if (!impl->code) {
    throw Error(ErrorKind::kParse, "tokenizer",
                std::string(where) + ": regular expression " + quote(pattern) + ": " +
                    message_of(error) + " at byte " + std::to_string(offset));
  }
  pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);  // without it matching is only slower
  impl->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(impl->context.get(), kMatchLimit);
  impl_ = std::move(impl);
}

// Finds the first match from `begin` on. Throws as find_all().
bool search(const Regex::Impl& regex, std::string_view text, std::size_t begin,
            pcre2_match_data* data) {
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  for (const std::uint32_t options : {PCRE2_NO_UTF_CHECK, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT}) {
    // What needs more stack than compiled code has is matched without it.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
      result = pcre2_match(regex.code.get(), bytes_of(text), text.size(), begin, options, data,
                           regex.context.get());
    }
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    throw Error(ErrorKind::kArgument, "tokenizer",
                "regular expression " + quote(regex.pattern) + ": " + message_of(result));
  }
  return true;
}

std::vector<Range> Regex::find_all(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, FreeData> data(pcre2_match_data_create(1, nullptr));
  std::vector<Range> found;
  if (text.empty()) return found;
  std::size_t from = 0;
  while (from <= text.size() && search(*impl_, text, from, data.get())) {
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    const std::size_t begin = std::max(range[0], from);
    const std::size_t end = std::max(range[1], begin);
    if (begin == end && !found.empty() && found.back().second == end) {
      // An empty match right after another one does not count: on by one character.
      from = end < text.size() ? end + code_point_at(text, end).size : end + 1;
    } else {
      found.emplace_back(begin, end);
      from = end;
    }
  }
  return found;
}

Pattern Pattern::text(std::string text) {
  Pattern pattern;
  pattern.text_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(const std::string& expression, std::string_view where) {
  Pattern pattern;
  pattern.expression_ = expression;
  pattern.regex_ = std::make_shared<Regex>(expression, where);
  return pattern;
}

std::vector<Range> Pattern::find_all(std::string_view text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<Range> found;
  if (text_.empty()) return found;
  for (std::size_t at = text.find(text_); at != std::string_view::npos;
       at = text.find(text_, at + text_.size())) {
    found.emplace_back(at, at + text_.size());
  }
  return found;
}

std::string Pattern::replace(std::string_view text, std::string_view replacement) const {
  std::string result;
  std::size_t done = 0;
  for (const auto& [begin, end] : find_all(text)) {
    result.append(text, done, begin - done);
    result += replacement;
    done = end;
  }
  result.append(text, done);
  return result;
}

}  // namespace wick::detail

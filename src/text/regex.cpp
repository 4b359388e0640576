#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.hpp"

#include <pcre2.h>

#include <array>

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

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_context, FreeContext> context;
};

Regex::Regex(const std::string& pattern, std::string_view where) {
  auto impl = std::make_shared<Impl>();
  impl->pattern = pattern;
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl->code.reset(pcre2_compile(bytes_of(pattern), pattern.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset,
                                 nullptr));
  if (!impl->code) {
    throw Error(ErrorKind::kParse, "tokenizer",
                std::string(where) + ": regular expression \"" + pattern +
                    "\": " + message_of(error) + " at byte " + std::to_string(offset));
  }
  pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);  // without it matching is only slower
  impl->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(impl->context.get(), kMatchLimit);
  impl_ = std::move(impl);
}

std::vector<Range> Regex::find_all(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, FreeData> data(pcre2_match_data_create(1, nullptr));
  std::vector<Range> found;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const int result = pcre2_match(impl_->code.get(), bytes_of(text), text.size(), begin,
                                   PCRE2_NO_UTF_CHECK, data.get(), impl_->context.get());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw Error(ErrorKind::kArgument, "tokenizer",
                  "regular expression \"" + impl_->pattern + "\": " + message_of(result));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    if (range[1] > range[0]) found.emplace_back(range[0], range[1]);
    begin = range[1] > begin ? range[1] : begin + 1;
    // After an empty match, on to the next character's first byte.
    while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) ++begin;
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

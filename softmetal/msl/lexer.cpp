#include "softmetal/msl/lexer.hpp"

#include <cctype>
#include <cstdlib>
#include <stdexcept>

namespace softmetal::msl {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) next();
    return std::move(tokens_);
  }

 private:
  void push(std::size_t end, TokenKind kind) {
    tokens_.push_back({std::string(source_.substr(at_, end - at_)), kind, line_});
    for (; at_ < end; ++at_) line_ += source_[at_] == '\n' ? 1 : 0;
  }
  template <class Predicate>
  std::size_t while_true(std::size_t from, Predicate holds) const {
    while (from < source_.size() && holds(source_[from])) ++from;
    return from;
  }
  [[noreturn]] void fail(const char* what) const {
    throw std::runtime_error("program_source:" + std::to_string(line_) + ": error: " + what);
  }

  void next() {
    const char c = source_[at_];
    if (c == '#') {
      directive();
    } else if (is_space(c)) {
      push(while_true(at_, is_space), TokenKind::kSpace);
    } else if (source_.substr(at_, 2) == "//") {
      push(while_true(at_, [](char x) { return x != '\n'; }), TokenKind::kSpace);
    } else if (source_.substr(at_, 2) == "/*") {
      const std::size_t end = source_.find("*/", at_ + 2);
      if (end == std::string_view::npos) fail("a comment without an end");
      push(end + 2, TokenKind::kSpace);
    } else if (c == '"' || c == '\'') {
      quoted(c);
    } else if (is_word_char(c) && !is_digit(c)) {
      push(while_true(at_, is_word_char), TokenKind::kWord);
    } else if (is_digit(c)) {
      number();
    } else {
      const std::string_view two = source_.substr(at_, 2);
      const bool pair = two == "[[" || two == "]]" || two == "::";
      push(at_ + (pair ? 2 : 1), TokenKind::kPunctuation);
    }
  }

  /// `# 12 "file"` sets the line of what follows.
  void directive() {
    const std::size_t end = while_true(at_, [](char x) { return x != '\n'; });
    const std::string text(source_.substr(at_, end - at_));
    push(end, TokenKind::kDirective);
    const char* digits = text.c_str() + 1;
    char* behind = nullptr;
    const long line = std::strtol(digits, &behind, 10);
    if (behind != digits) line_ = static_cast<int>(line) - 1;  // the end of this line adds one
  }

  void quoted(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail("a string without an end");
    push(end + 1, TokenKind::kString);
  }

  void number() {
    std::size_t end = at_;
    while (end < source_.size()) {
      const char c = source_[end];
      const char before = end > at_ ? source_[end - 1] : '0';
      const bool exponent_sign = (c == '+' || c == '-') && (before == 'e' || before == 'E');
      if (!is_word_char(c) && c != '.' && !exponent_sign) break;
      ++end;
    }
    push(end, TokenKind::kNumber);
  }

  std::string_view source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> split_tokens(std::string_view source) { return Lexer(source).run(); }

}  // namespace softmetal::msl

#define PCRE2_CODE_UNIT_WIDTH 8
#include "nn/module_regex.hpp"

#include <pcre2.h>

#include <array>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::uint32_t kMatchLimit = 1'000'000;

struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};

// PCRE2 takes bytes as unsigned; the text stays where it is.
PCRE2_SPTR bytes_of(std::string_view text) {
  return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data()));
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  std::string message;
  for (const PCRE2_UCHAR c : text) {
    if (c == 0) break;
    message.push_back(static_cast<char>(c));
  }
  return message;
}

[[noreturn]] void fail(const std::string& pattern, const std::string& why) {
  throw Error(ErrorKind::kArgument, "select_lora_targets",
              "regular expression \"" + pattern + "\": " + why);
}

}  // namespace

struct ModuleRegex::Impl {
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_context, FreeContext> context;
};

ModuleRegex::ModuleRegex(const std::string& pattern) : pattern_(pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto impl = std::make_shared<Impl>();
  impl->code.reset(pcre2_compile(bytes_of(pattern), pattern.size(),
                                 PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &error, &offset,
                                 nullptr));
  if (!impl->code) fail(pattern, message_of(error) + " at character " + std::to_string(offset));
  impl->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(impl->context.get(), kMatchLimit);
  impl_ = std::move(impl);
}

ModuleRegex::Match ModuleRegex::match(std::string_view path) const {
  const std::unique_ptr<pcre2_match_data, FreeData> data(
      pcre2_match_data_create_from_pattern(impl_->code.get(), nullptr));
  const int groups = pcre2_match(impl_->code.get(), bytes_of(path), path.size(), 0, 0, data.get(),
                                 impl_->context.get());
  if (groups == PCRE2_ERROR_NOMATCH) return {};
  if (groups < 0) fail(pattern_, message_of(groups));
  Match match{.matches = true};
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  // A group that took no part has no range.
  if (groups > 1 && range[2] != PCRE2_UNSET) {
    match.first_group = path.substr(range[2], range[3] - range[2]);
  }
  return match;
}

}  // namespace wick::detail

// A tokenizer.json, and texts for it: ids of the vocabulary and valid UTF-8 come out, or an Error.
#include <string_view>

#include "fuzz/fuzz_support.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

namespace {

constexpr std::string_view kTexts[] = {
    "",
    " ",
    "Hello, world!  I'll be 1234.\r\n\n x",
    "caf\u00E9 e\u0301\u0302 \u4E2D\u6587 \U0001F468\u200D\U0001F469",
    "<s>[CLS] <|im_end|></s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

void check_text(const Tokenizer& tokenizer, std::string_view text, bool parse_special_tokens) {
  try {
    const auto ids = tokenizer.encode(text, {.parse_special_tokens = parse_special_tokens});
    TextStream stream(tokenizer);
    std::string streamed;
    for (const std::int32_t id : ids) {
      require(id >= 0 && id < tokenizer.vocab_size() && tokenizer.id_to_token(id));
      streamed += stream.push(id);
      require(detail::first_invalid_utf8(streamed) == streamed.size());
    }
    streamed += stream.finish();
    const std::string decoded = tokenizer.decode(ids);
    require(detail::first_invalid_utf8(decoded) == decoded.size());
  } catch (const Error& error) {
    require(error.kind() != ErrorKind::kInternal);
  }
}

}  // namespace

}  // namespace wick

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer = wick::Tokenizer::from_json(wick::text_of(data, size));
    for (const std::string_view text : wick::kTexts) {
      wick::check_text(tokenizer, text, true);
      wick::check_text(tokenizer, text, false);
    }
  } catch (const wick::Error& error) {
    wick::require(error.kind() == wick::ErrorKind::kParse ||
                  error.kind() == wick::ErrorKind::kUnsupported);
  }
  return 0;
}

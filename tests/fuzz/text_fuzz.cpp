// Texts for the fixtures' tokenizers: what is valid UTF-8 is encoded, and where a tokenizer keeps every byte it comes back.
#include <filesystem>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

namespace {

Tokenizer load(const char* name) {
  return Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name);
}

void check_text(const Tokenizer& tokenizer, const std::string& text, bool keeps_bytes) {
  const auto ids =
      tokenizer.encode(text, {.add_special_tokens = false, .parse_special_tokens = false});
  const std::string decoded = tokenizer.decode(ids, false);
  require(detail::first_invalid_utf8(decoded) == decoded.size());
  require(!keeps_bytes || decoded == text);
  TextStream stream(tokenizer, false);
  std::string streamed;
  for (const std::int32_t id : ids) {
    const std::string piece = stream.push(id);
    require(detail::first_invalid_utf8(piece) == piece.size());
    streamed += piece;
  }
  require(streamed + stream.finish() == decoded);
}

}  // namespace

}  // namespace wick

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<wick::Tokenizer> exact{wick::load("gpt2"), wick::load("llama3")};
  static const std::vector<wick::Tokenizer> lossy{wick::load("qwen2"), wick::load("llama2-sp"),
                                                  wick::load("unigram"),
                                                  wick::load("bert-wordpiece")};
  const std::string text = wick::text_of(data, size);
  if (wick::detail::first_invalid_utf8(text) != text.size()) {
    try {
      exact[0].encode(text);
      std::abort();
    } catch (const wick::Error& error) {
      wick::require(error.kind() == wick::ErrorKind::kArgument);
    }
    return 0;
  }
  for (const wick::Tokenizer& tokenizer : exact) wick::check_text(tokenizer, text, true);
  for (const wick::Tokenizer& tokenizer : lossy) wick::check_text(tokenizer, text, false);
  return 0;
}

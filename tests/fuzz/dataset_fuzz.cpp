// Lines of a data file: whatever they hold, a record or an Error comes out.
#include <filesystem>

#include "fuzz/fuzz_support.hpp"
#include "train/records.hpp"
#include "train/sample_encoder.hpp"
#include "wick/base/error.hpp"
#include "wick/text/chat_template.hpp"
#include "wick/text/tokenizer.hpp"
#include "wick/train/dataset.hpp"

namespace wick {

namespace {

constexpr std::int64_t kMaxSeqLength = 24;

void check_samples(const detail::SampleBlock& block) {
  require(block.ids.size() == block.is_target.size());
  std::int64_t begin = 0;
  for (const std::int64_t end : block.ends) {
    require(end > begin && end - begin <= kMaxSeqLength);
    begin = end;
  }
  require(begin == static_cast<std::int64_t>(block.ids.size()));
}

void read_line(const std::string& line, const detail::SampleEncoder& encoder) {
  detail::SampleBlock block;
  try {
    encoder.encode(detail::parse_record(line, detail::kind_of_record(line)), block);
  } catch (const Error&) {
    return;
  }
  require(!block.ends.empty());
  check_samples(block);
}

}  // namespace

}  // namespace wick

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const wick::Tokenizer tokenizer =
      wick::Tokenizer::from_file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers/qwen2");
  static const wick::DatasetOptions options{.max_seq_length = wick::kMaxSeqLength,
                                            .chat_template = wick::ChatTemplate::named("chatml"),
                                            .eos_token_id = 1};
  static const wick::detail::SampleEncoder encoder(tokenizer, options);
  wick::read_line(wick::text_of(data, size), encoder);
  return 0;
}

#include "train/sample_encoder.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// A sample of one token has no target.
constexpr std::int64_t kShortest = 2;

void append(std::vector<std::int32_t>& ids, const std::vector<std::int32_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

// Number of assistant's turns among a conversation's first messages.
std::int32_t count_turns(std::span<const ChatMessage> messages) {
  return static_cast<std::int32_t>(std::ranges::count(messages, "assistant", &ChatMessage::role));
}

}  // namespace

void SampleBlock::add(std::span<const std::int32_t> sample_ids,
                      std::span<const std::uint8_t> marks) {
  ids.insert(ids.end(), sample_ids.begin(), sample_ids.end());
  is_target.insert(is_target.end(), marks.begin(), marks.end());
  ends.push_back(static_cast<std::int64_t>(ids.size()));
}

// A whole record as ids, and which of its tokens must survive when it is shortened.
struct SampleEncoder::Marked {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> is_target;
  std::size_t answer_begin = 0;  // the first answer that is learnt
  std::size_t answer_end = 0;
};

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, const DatasetOptions& options)
    : tokenizer_(tokenizer), options_(options), chat_encoder_(tokenizer) {
  if (options.max_seq_length < kShortest) {
    throw Error(ErrorKind::kArgument, "data set",
                fmt::format("max_seq_length must be at least {}, got {}", kShortest,
                            options.max_seq_length));
  }
  if (!options.chat_template) return;
  const std::vector<std::string> ends = options.chat_template->stop_tokens();
  if (std::ranges::none_of(ends, [&](const std::string& token) {
        return tokenizer.token_to_id(token).has_value();
      })) {
    throw Error(ErrorKind::kArgument, "data set",
                fmt::format("the chat template {} ends a turn with {}, which the tokenizer does "
                            "not have: an answer would never end",
                            options.chat_template->name(), fmt::join(ends, " or ")),
                {}, "name the template that the model was made for");
  }
}

void SampleEncoder::encode(const Record& record, SampleBlock& block) const {
  std::visit(
      [&](const auto& value) {
        using Kind = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<Kind, TextRecord>) {
          encode_text(value.text, block);
        } else if constexpr (std::is_same_v<Kind, PromptRecord>) {
          encode_prompt(value, block);
        } else {
          encode_chat(value, block);
        }
      },
      record);
}

void SampleEncoder::encode_text(std::string_view text, SampleBlock& block) const {
  std::vector<std::int32_t> ids = tokenizer_.encode(text);
  append_end(ids);
  if (ids.empty()) throw Error(ErrorKind::kParse, "text", "holds nothing that the tokenizer keeps");
  const auto longest = static_cast<std::size_t>(options_.max_seq_length);
  const std::vector<std::uint8_t> marks(std::min(ids.size(), longest), 1);
  const std::span<const std::int32_t> all = ids;
  // The first token of a piece is context alone, so each piece begins with the one that ended the piece before: every
  // token but the text's first is a target once.
  std::size_t begin = 0;
  do {
    const std::size_t length = std::min(longest, all.size() - begin);
    block.add(all.subspan(begin, length), std::span(marks).first(length));
    begin += length - 1;
  } while (begin + 1 < all.size());
}

void SampleEncoder::encode_prompt(const PromptRecord& record, SampleBlock& block) const {
  if (options_.template_for_prompts) {
    ChatRecord chat;
    chat.messages = {{.role = "user", .content = record.prompt},
                     {.role = "assistant", .content = record.completion}};
    chat.num_prompt_messages = 1;
    return encode_chat(chat, block);
  }
  const EncodeOptions bare{.add_special_tokens = false, .parse_special_tokens = true};
  const std::vector<std::int32_t> prompt = tokenizer_.encode(record.prompt, bare);
  const std::vector<std::int32_t> whole =
      tokenizer_.encode(record.prompt + record.completion, bare);
  Marked sample{.ids = tokenizer_.prefix_ids()};
  sample.answer_begin = sample.ids.size() + prompt.size();
  if (whole.size() >= prompt.size() &&
      std::ranges::equal(prompt, std::span(whole).first(prompt.size()))) {
    append(sample.ids, whole);
  } else {
    // A token would span both. Whoever uses the model later tokenizes the prompt by itself, so training does too.
    append(sample.ids, prompt);
    append(sample.ids, tokenizer_.encode(record.completion, bare));
  }
  append_end(sample.ids);
  sample.answer_end = sample.ids.size();
  sample.is_target.assign(sample.ids.size(), options_.mask == LossMask::kAll ? 1 : 0);
  std::fill(sample.is_target.begin() + static_cast<std::ptrdiff_t>(sample.answer_begin),
            sample.is_target.end(), 1);
  add_shortened(std::move(sample), block);
}

void SampleEncoder::encode_chat(const ChatRecord& record, SampleBlock& block) const {
  const std::int32_t first_learnt =
      count_turns(std::span(record.messages).first(record.num_prompt_messages));
  const bool learns = count_turns(record.messages) > first_learnt;
  if (!learns && options_.mask != LossMask::kAll) {
    throw Error(ErrorKind::kParse, record.num_prompt_messages > 0 ? "completion" : "messages",
                "must have a message of the role \"assistant\": nothing else is learnt");
  }
  const EncodedChat chat = chat_encoder_.encode(chat_template().render(record.messages, false));
  add_shortened(mark_turns(chat, first_learnt), block);
}

SampleEncoder::Marked SampleEncoder::mark_turns(const EncodedChat& chat,
                                                std::int32_t first_learnt) const {
  const std::int32_t last_turn = chat.turns.empty() ? -1 : *std::ranges::max_element(chat.turns);
  const std::int32_t first = options_.mask == LossMask::kLastTurn ? last_turn : first_learnt;
  Marked sample{.ids = chat.ids};
  for (const std::int32_t turn : chat.turns) {
    const bool learnt = options_.mask == LossMask::kAll || (turn >= 0 && turn >= first);
    sample.is_target.push_back(learnt ? 1 : 0);
  }
  const auto begin = std::ranges::find(chat.turns, first);
  const auto end =
      std::find_if(begin, chat.turns.end(), [&](std::int32_t turn) { return turn != first; });
  if (begin != chat.turns.end()) {
    sample.answer_begin = static_cast<std::size_t>(begin - chat.turns.begin());
    sample.answer_end = static_cast<std::size_t>(end - chat.turns.begin());
  }
  return sample;
}

const ChatTemplate& SampleEncoder::chat_template() const {
  if (options_.chat_template) return *options_.chat_template;
  throw Error(
      ErrorKind::kArgument, "", "messages need a chat template, which says how turns are written",
      {}, fmt::format("name one with --chat-template: {}", fmt::join(ChatTemplate::names(), ", ")));
}

void SampleEncoder::append_end(std::vector<std::int32_t>& ids) const {
  const auto end = options_.eos_token_id;
  if (end && (ids.empty() || ids.back() != *end)) ids.push_back(*end);
}

// Drops the beginning of what comes before the first learnt answer, as far as that makes the answer whole, then the end
// of everything. What the tokenizer puts before every text stays, and so does one token before the answer.
void SampleEncoder::add_shortened(Marked sample, SampleBlock& block) const {
  const auto longest = static_cast<std::size_t>(options_.max_seq_length);
  if (sample.ids.empty())
    throw Error(ErrorKind::kParse, "", "holds nothing that the tokenizer keeps");
  if (sample.ids.size() > longest) {
    ++block.num_truncated;
    const std::vector<std::int32_t>& prefix = tokenizer_.prefix_ids();
    const auto kept =
        static_cast<std::size_t>(std::ranges::mismatch(sample.ids, prefix).in2 - prefix.begin());
    const std::size_t missing = sample.answer_end - std::min(sample.answer_end, longest);
    const std::size_t context = std::max<std::size_t>(kept, 1);
    const std::size_t spare = sample.answer_begin - std::min(sample.answer_begin, context);
    const auto dropped = static_cast<std::ptrdiff_t>(std::min(missing, spare));
    const auto from = static_cast<std::ptrdiff_t>(kept);
    sample.ids.erase(sample.ids.begin() + from, sample.ids.begin() + from + dropped);
    sample.is_target.erase(sample.is_target.begin() + from,
                           sample.is_target.begin() + from + dropped);
    sample.ids.resize(std::min(sample.ids.size(), longest));
    sample.is_target.resize(sample.ids.size());
  }
  block.add(sample.ids, sample.is_target);
}

}  // namespace wick::detail

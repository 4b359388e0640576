#include "train_samples.hpp"

#include <utility>

namespace wick::cli {

std::vector<std::int32_t> encode_user_message(const Tokenizer& tokenizer, const ChatTemplate& how,
                                              const std::string& system_prompt,
                                              const std::string& message,
                                              std::vector<std::int32_t>& stop_tokens) {
  bool has_end = false;
  for (const std::string& name : how.stop_tokens()) {
    const auto id = tokenizer.token_to_id(name);
    if (id) stop_tokens.push_back(*id);
    has_end = has_end || id;
  }
  if (!has_end) {
    throw Error(
        ErrorKind::kArgument, "chat",
        "the tokenizer has none of the tokens that end a turn of the template " + how.name());
  }
  std::vector<ChatMessage> messages;
  if (!system_prompt.empty()) messages.push_back({"system", system_prompt});
  messages.push_back({"user", message});
  return encode_chat(tokenizer, how.render(messages, true));
}

SampleTaker::SampleTaker(std::vector<std::string> prompts, std::int64_t max_new_tokens,
                         std::optional<ChatTemplate> chat_template)
    : max_new_tokens_(max_new_tokens), chat_template_(std::move(chat_template)) {
  for (std::string& prompt : prompts) records_.push_back({std::move(prompt), {}, {}});
}

void SampleTaker::take_before(const CausalLm& model, const Tokenizer& tokenizer) {
  const auto texts = continuations(model, tokenizer);
  for (std::size_t i = 0; i < texts.size(); ++i) records_[i].before = texts[i];
}

void SampleTaker::take_after(const CausalLm& model, const Tokenizer& tokenizer) {
  const auto texts = continuations(model, tokenizer);
  for (std::size_t i = 0; i < texts.size(); ++i) records_[i].after = texts[i];
}

std::vector<std::string> SampleTaker::continuations(const CausalLm& model,
                                                    const Tokenizer& tokenizer) const {
  if (records_.empty()) return {};
  GenerateOptions options;
  options.max_new_tokens = max_new_tokens_;
  std::vector<std::vector<std::int32_t>> prompts;
  prompts.reserve(records_.size());
  for (const SampleRecord& record : records_) {
    prompts.push_back(chat_template_ ? encode_user_message(tokenizer, *chat_template_, "",
                                                           record.prompt, options.stop_tokens)
                                     : tokenizer.encode(record.prompt));
  }
  if (!chat_template_) options.stop = {"\n"};
  std::vector<std::string> texts;
  texts.reserve(records_.size());
  for (Generation& result : generate_from_ids(model, tokenizer, prompts, options)) {
    texts.push_back(std::move(result.text));
  }
  return texts;
}

}  // namespace wick::cli

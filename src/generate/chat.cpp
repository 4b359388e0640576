#include "wick/generate/chat.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "generate/run_batch.hpp"
#include "generate/sequence.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr std::int64_t kLeastCapacity = 1024;

[[noreturn]] void refuse(const std::string& rule, const std::string& hint = {}) {
  throw Error(ErrorKind::kArgument, "chat", rule, {}, hint);
}

// What ends a reply: the model's end tokens and those of the template.
std::vector<std::int64_t> end_tokens(const ModelConfig& config, const Tokenizer& tokenizer,
                                     const ChatTemplate& chat_template) {
  std::vector<std::int64_t> ids = config.eos_token_ids;
  std::string missing;
  bool has_one = false;
  for (const std::string& token : chat_template.stop_tokens()) {
    if (const auto id = tokenizer.token_to_id(token)) {
      ids.push_back(*id);
      has_one = true;
    } else {
      missing += (missing.empty() ? "" : ", ") + token;
    }
  }
  if (!has_one) {
    refuse(fmt::format("template \"{}\" ends a turn with {}, which the tokenizer does not have",
                       chat_template.name(), missing));
  }
  return ids;
}

std::int64_t usable_context(const ModelConfig& config, std::int64_t context_size) {
  if (context_size < 0) {
    refuse(fmt::format("context_size must be at least 0, got {}", context_size));
  }
  if (context_size > config.max_position_embeddings) {
    refuse(fmt::format("context_size is {}, the model has {} positions", context_size,
                       config.max_position_embeddings));
  }
  return context_size == 0 ? config.max_position_embeddings : context_size;
}

const ModelConfig& config_of(const std::shared_ptr<const CausalLm>& model) {
  if (model == nullptr) refuse("a session needs a model, got a null pointer");
  return model->config();
}

std::int64_t common_prefix(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return ends.first - a.begin();
}

}  // namespace

ChatSession::ChatSession(std::shared_ptr<const CausalLm> model, Tokenizer tokenizer,
                         ChatTemplate chat_template, ChatOptions options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      template_(std::move(chat_template)),
      options_(std::move(options.generate)),
      end_tokens_(end_tokens(config_of(model_), tokenizer_, template_)),
      context_size_(usable_context(model_->config(), options.context_size)),
      drop_oldest_turns_(options.drop_oldest_turns) {
  detail::check_options(options_, model_->config());
  if (options_.ignore_eos) end_tokens_.clear();
  set_system_prompt(options.system_prompt);
}

std::string ChatSession::system_prompt() const {
  const bool has_one = !messages_.empty() && messages_.front().role == "system";
  return has_one ? messages_.front().content : std::string();
}

void ChatSession::set_system_prompt(const std::string& text) {
  if (first_turn() == 1) messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), {.role = "system", .content = text});
}

void ChatSession::reset() {
  messages_.resize(first_turn());
  num_dropped_turns_ = 0;
  num_replies_ = 0;
  last_ = {};
  stats_ = {};
}

void ChatSession::drop_cache() {
  cache_.reset();
  cached_ids_.clear();
}

std::vector<std::int32_t> ChatSession::encode(const std::vector<ChatMessage>& messages,
                                              std::int64_t num_dropped_turns) const {
  std::vector<ChatMessage> kept = messages;
  const auto first = kept.begin() + static_cast<std::ptrdiff_t>(first_turn());
  kept.erase(first, first + 2 * num_dropped_turns);
  return encode_chat(tokenizer_, template_.render(kept, true));
}

// The ids of what is to be continued. Leaves more turns out when they must be and may be.
std::vector<std::int32_t> ChatSession::fit(const std::vector<ChatMessage>& messages,
                                           std::int64_t& num_dropped_turns) const {
  const auto num_turns = static_cast<std::int64_t>(messages.size() - first_turn()) / 2;
  const std::int64_t reply_room = std::min(options_.max_new_tokens, context_size_ / 4);
  std::vector<std::int32_t> ids = encode(messages, num_dropped_turns);
  const auto size = [&ids] { return static_cast<std::int64_t>(ids.size()); };
  while (drop_oldest_turns_ && num_dropped_turns < num_turns &&
         size() + reply_room > context_size_) {
    ids = encode(messages, ++num_dropped_turns);
  }
  if (size() >= context_size_) {
    refuse(fmt::format("the conversation has {} tokens, which leaves no room for a reply in a "
                       "context of {}",
                       size(), context_size_),
           drop_oldest_turns_ ? "the system prompt and the last message alone are too long"
                              : "shorten it, or set drop_oldest_turns");
  }
  return ids;
}

// Grows by doubling, so that a long conversation is read again only a few times.
void ChatSession::make_room(std::int64_t positions) {
  const std::int64_t capacity = cache_ ? cache_->capacity() : 0;
  if (capacity >= positions) return;
  drop_cache();
  const std::int64_t grown = std::max({positions, 2 * capacity, kLeastCapacity});
  cache_.emplace(model_->make_cache(1, std::min(grown, context_size_)));
}

Generation ChatSession::answer(const std::vector<std::int32_t>& ids, const ReplyCallback& on_text) {
  const auto size = static_cast<std::int64_t>(ids.size());
  const std::int64_t limit = detail::token_limit(options_, size, context_size_);
  std::vector<detail::Sequence> sequence;
  sequence.emplace_back(options_, end_tokens_, ids, limit, num_replies_,
                        detail::TextOutput(tokenizer_, options_.stop, on_text));
  make_room(size + limit - 1);
  // The last token is read even when it is known: its logits are not kept.
  const std::int64_t known = std::min(common_prefix(cached_ids_, ids), size - 1);
  const auto known_end = static_cast<std::size_t>(known);
  cache_->truncate(known);
  cached_ids_.resize(known_end);

  const std::span<const std::int32_t> unread = std::span(ids).subspan(known_end);
  GenerateStats stats;
  try {
    detail::run_batch(*model_, *cache_, std::span(&unread, 1), sequence, options_.prefill_chunk,
                      stats);
  } catch (...) {
    cache_->truncate(known);
    throw;
  }
  Generation result = sequence.front().take();
  cached_ids_ = ids;
  cached_ids_.insert(cached_ids_.end(), result.ids.begin(), result.ids.end());
  cached_ids_.resize(static_cast<std::size_t>(cache_->length()));  // without what was not read
  stats_ = stats;
  return result;
}

std::string ChatSession::reply(std::string_view message, const ReplyCallback& on_text) {
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({.role = "user", .content = std::string(message)});
  std::int64_t num_dropped_turns = num_dropped_turns_;
  const std::vector<std::int32_t> ids = fit(messages, num_dropped_turns);
  detail::check_ids(model_->config(), ids, "the conversation");
  last_ = answer(ids, on_text);
  messages.push_back({.role = "assistant", .content = last_.text});
  messages_ = std::move(messages);
  num_dropped_turns_ = num_dropped_turns;
  ++num_replies_;
  return last_.text;
}

}  // namespace wick

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wick/generate/generate.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/nn/kv_cache.hpp"
#include "wick/text/chat_template.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

/// Token ids of a rendered conversation: those of its whole text, so that they are what the model was trained on. Where a
/// message holds the text of a special token, messages are encoded apart from the markup instead, and that text as
/// plain text: nobody can end a turn by writing `<|im_end|>`. Throws as Tokenizer::encode().
std::vector<std::int32_t> encode_chat(const Tokenizer& tokenizer,
                                      const std::vector<ChatPiece>& pieces);

/// How a ChatSession replies.
struct ChatOptions {
  GenerateOptions generate;
  std::string system_prompt;      ///< empty: what the template does without one
  std::int64_t context_size = 0;  ///< tokens of conversation and reply; 0: max_position_embeddings
  /// When the conversation no longer fits, leave out its oldest turns, the system prompt never. It is made short enough for
  /// the reply's max_new_tokens, but for no more than a quarter of the context.
  bool drop_oldest_turns = false;
};

/// Gets a reply's text as it becomes certain; as TextCallback. Returning false ends the reply.
using ReplyCallback = std::function<bool(std::string_view text)>;

/// A conversation with a model that remembers what it has computed: a reply reads only what is new since the last one.
/// Not safe to use from several threads at once.
class ChatSession {
 public:
  /// Throws Error kArgument for a null model, options out of range, and when the tokenizer has none of the tokens that end a turn of
  /// the template.
  ChatSession(std::shared_ptr<const CausalLm> model, Tokenizer tokenizer,
              ChatTemplate chat_template, ChatOptions options = {});

  /// The model's answer to a message; both become part of the conversation. A reply that the callback ended stays in it
  /// as far as it got. Each reply draws from its own stream of random numbers. Throws Error kArgument when the
  /// conversation leaves no room in the context, and as ChatTemplate::render() and Tokenizer::encode(); nothing has
  /// changed then, nor when the callback throws.
  std::string reply(std::string_view message, const ReplyCallback& on_text = {});
  /// How the last reply came out. num_prompt_tokens counts the whole conversation.
  const Generation& last() const noexcept { return last_; }
  /// What the last reply took. num_prompt_tokens counts the tokens that had to be read.
  const GenerateStats& stats() const noexcept { return stats_; }

  /// The conversation, its system message first where there is one, dropped turns included.
  const std::vector<ChatMessage>& messages() const noexcept { return messages_; }
  /// Turns that were left out because the context is full; each is a message and its reply.
  std::int64_t num_dropped_turns() const noexcept { return num_dropped_turns_; }
  /// The system message; empty without one.
  std::string system_prompt() const;
  /// Replaces the system message from the next reply on; empty removes it.
  void set_system_prompt(const std::string& text);
  /// Begins a new conversation with the same system message.
  void reset();
  /// Forgets what was computed, not what was said: needed after the model's active adapters have changed.
  void drop_cache();

 private:
  std::size_t first_turn() const { return system_prompt().empty() ? 0 : 1; }
  std::vector<std::int32_t> encode(const std::vector<ChatMessage>& messages,
                                   std::int64_t num_dropped_turns) const;
  std::vector<std::int32_t> fit(const std::vector<ChatMessage>& messages,
                                std::int64_t& num_dropped_turns) const;
  void make_room(std::int64_t positions);
  Generation answer(const std::vector<std::int32_t>& ids, const ReplyCallback& on_text);

  std::shared_ptr<const CausalLm> model_;
  Tokenizer tokenizer_;
  ChatTemplate template_;
  GenerateOptions options_;
  std::vector<std::int64_t> end_tokens_;
  std::int64_t context_size_;
  bool drop_oldest_turns_;

  std::vector<ChatMessage> messages_;
  std::int64_t num_dropped_turns_ = 0;
  std::uint64_t num_replies_ = 0;
  Generation last_;
  GenerateStats stats_;
  std::optional<KvCache> cache_;
  std::vector<std::int32_t> cached_ids_;  // what cache_ holds
};

}  // namespace wick

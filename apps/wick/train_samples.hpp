#pragma once

#include <optional>
#include <string>
#include <vector>

#include "run_log.hpp"
#include "wick/wick.hpp"

namespace wick::cli {

/// Continues the same prompts before and after a run.
class SampleTaker {
 public:
  /// With a template a prompt is a user's message; otherwise it is text, continued to the end of its line.
  SampleTaker(std::vector<std::string> prompts, std::int64_t max_new_tokens,
              std::optional<ChatTemplate> chat_template);

  /// Continues every prompt. Throws as generate().
  void take_before(const CausalLm& model, const Tokenizer& tokenizer);
  void take_after(const CausalLm& model, const Tokenizer& tokenizer);
  const std::vector<SampleRecord>& records() const { return records_; }

 private:
  std::vector<std::string> continuations(const CausalLm& model, const Tokenizer& tokenizer) const;

  std::vector<SampleRecord> records_;
  std::int64_t max_new_tokens_;
  std::optional<ChatTemplate> chat_template_;
};

/// The tokens of one user's message, after a system message unless that is empty, up to where the answer begins; adds the
/// tokens that end the answer to `stop_tokens`. Throws Error kArgument when the tokenizer has none of them.
std::vector<std::int32_t> encode_user_message(const Tokenizer& tokenizer, const ChatTemplate& how,
                                              const std::string& system_prompt,
                                              const std::string& message,
                                              std::vector<std::int32_t>& stop_tokens);

}  // namespace wick::cli

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/stop_matcher.hpp"
#include "wick/generate/generate.hpp"

namespace wick::detail {

/// Gets the text of one sequence; false ends it.
using TextSink = std::function<bool(std::string_view)>;

/// The text of one sequence as its tokens arrive.
class TextOutput {
 public:
  TextOutput(const Tokenizer& tokenizer, const std::vector<std::string>& stops, TextSink sink);

  /// Takes a token. A value when it ended the text.
  std::optional<FinishReason> push(std::int32_t id);
  /// Delivers what was held back. kStop when that completes a stop string.
  std::optional<FinishReason> finish();
  /// All that was delivered.
  const std::string& text() const noexcept { return text_; }

 private:
  bool deliver(const std::string& piece);

  Tokenizer tokenizer_;
  TextStream stream_;
  StopMatcher matcher_;
  TextSink sink_;
  std::string text_;
};

/// One sequence that is being continued: draws its tokens and knows when it ends.
class Sequence {
 public:
  /// `end_tokens` are the model's, `prompt` is what it reads before, `limit` the most tokens to draw, `number` the stream of
  /// random numbers.
  Sequence(const GenerateOptions& options, std::vector<std::int64_t> end_tokens,
           std::span<const std::int32_t> prompt, std::int64_t limit, std::uint64_t number,
           std::optional<TextOutput> output);

  /// Draws the next token from its logits.
  void draw(std::span<const float> logits);
  /// True when what is drawn is always the most likely token.
  bool is_greedy() const noexcept { return sampler_.is_greedy(); }
  /// Goes on with a token that somebody else has chosen.
  void take_next(std::int32_t id);
  /// False once the sequence has ended.
  bool is_live() const noexcept { return is_live_; }
  /// The token drawn last, which the model has not read.
  std::int32_t last_id() const { return result_.ids.back(); }
  /// What came of it.
  Generation take();

 private:
  void read(std::int32_t id);
  void end(FinishReason reason);
  std::optional<FinishReason> end_of(std::int32_t id) const;

  Sampler sampler_;
  std::vector<std::int64_t> end_tokens_;
  std::vector<std::int32_t> stop_tokens_;
  std::int64_t limit_;
  std::optional<TextOutput> output_;
  Generation result_;
  bool is_live_ = true;
};

}  // namespace wick::detail

#include "generate/sequence.hpp"

#include <algorithm>
#include <utility>

namespace wick::detail {

TextOutput::TextOutput(const Tokenizer& tokenizer, const std::vector<std::string>& stops,
                       TextSink sink)
    : tokenizer_(tokenizer), stream_(tokenizer), matcher_(stops), sink_(std::move(sink)) {}

bool TextOutput::deliver(const std::string& piece) {
  text_ += piece;
  return piece.empty() || !sink_ || sink_(piece);
}

std::optional<FinishReason> TextOutput::push(std::int32_t id) {
  // Models often have more rows of logits than their tokenizer has tokens. Such an id has no text.
  if (!tokenizer_.id_to_token(id)) return {};
  const bool goes_on = deliver(matcher_.push(stream_.push(id)));
  if (matcher_.found()) return FinishReason::kStop;
  if (!goes_on) return FinishReason::kCancelled;
  return {};
}

std::optional<FinishReason> TextOutput::finish() {
  std::string rest = matcher_.push(stream_.finish());
  rest += matcher_.finish();
  deliver(rest);
  if (matcher_.found()) return FinishReason::kStop;
  return {};
}

Sequence::Sequence(const GenerateOptions& options, std::vector<std::int64_t> end_tokens,
                   std::span<const std::int32_t> prompt, std::int64_t limit, std::uint64_t number,
                   std::optional<TextOutput> output)
    : sampler_(options.sampling, number),
      end_tokens_(std::move(end_tokens)),
      stop_tokens_(options.stop_tokens),
      limit_(limit),
      output_(std::move(output)) {
  sampler_.accept_prompt(prompt);
  result_.num_prompt_tokens = static_cast<std::int64_t>(prompt.size());
}

std::optional<FinishReason> Sequence::end_of(std::int32_t id) const {
  const auto contains = [id](const auto& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  if (contains(end_tokens_)) return FinishReason::kEndToken;
  if (contains(stop_tokens_)) return FinishReason::kStop;
  return {};
}

void Sequence::draw(std::span<const float> logits) { read(sampler_.next(logits)); }

void Sequence::take_next(std::int32_t id) {
  sampler_.take(id);
  read(id);
}

void Sequence::read(std::int32_t id) {
  if (const auto reason = end_of(id)) {
    end(*reason);
    return;
  }
  result_.ids.push_back(id);
  if (output_) {
    if (const auto reason = output_->push(id)) {
      result_.reason = *reason;
      is_live_ = false;
      return;
    }
  }
  if (static_cast<std::int64_t>(result_.ids.size()) == limit_) end(FinishReason::kLength);
}

void Sequence::end(FinishReason reason) {
  is_live_ = false;
  result_.reason = reason;
  if (!output_) return;
  if (const auto stopped = output_->finish()) result_.reason = *stopped;
}

Generation Sequence::take() {
  if (output_) result_.text = output_->text();
  return std::move(result_);
}

}  // namespace wick::detail

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wick/generate/sampler.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick {

/// Why a sequence ended.
enum class FinishReason {
  kLength,    ///< max_new_tokens were generated, or the context is full
  kEndToken,  ///< the model ended it
  kStop,      ///< a stop string or stop token appeared
  kCancelled  ///< the callback said so
};

/// The name: "length", "eos", "stop", "cancelled".
std::string_view to_string(FinishReason reason) noexcept;

/// What is generated, and when it ends.
struct GenerateOptions {
  std::int64_t max_new_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;  ///< text that ends a sequence; it is not part of the result
  std::vector<std::int32_t> stop_tokens;  ///< ids that end it, besides the model's own end tokens
  bool ignore_eos = false;                ///< go on past the model's end tokens
  std::int64_t prefill_chunk = 512;       ///< prompt tokens per pass
  std::int64_t batch_size = 16;  ///< prompts computed together; does not change what comes out
};

/// One finished sequence.
struct Generation {
  /// generated tokens, without the end or stop token; with a stop string up to the token that completed it
  std::vector<std::int32_t> ids;
  /// the ids decoded, without special tokens; with a stop string up to where it begins, and after the callback returned
  /// false what it was given
  std::string text;
  FinishReason reason = FinishReason::kLength;
  std::int64_t num_prompt_tokens = 0;
};

/// How long it took.
struct GenerateStats {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  std::int64_t num_prompt_tokens = 0;
  std::int64_t num_generated_tokens = 0;  ///< end tokens included
};

/// Gets text as it becomes certain: valid UTF-8, never empty, never taken back, nothing of a stop string. `sequence` is
/// the prompt's number. Returning false ends that sequence.
using TextCallback = std::function<bool(std::int64_t sequence, std::string_view text)>;

/// Continues token sequences of any lengths together; each as if it were alone, with its number as the stream of its
/// Sampler. Throws Error kArgument for an empty prompt, an id outside the vocabulary, a prompt that leaves no room in
/// max_position_embeddings, options out of range, and for stop strings, which need a tokenizer.
std::vector<std::vector<std::int32_t>> generate_ids(
    const CausalLm& model, std::span<const std::vector<std::int32_t>> prompts,
    const GenerateOptions& options, GenerateStats* stats = nullptr);

/// Continues texts. A prompt is encoded as the tokenizer does by default (special tokens included). Throws as
/// generate_ids(), and Error kArgument for a stop string that is empty or begins inside a UTF-8 character.
std::vector<Generation> generate(const CausalLm& model, const Tokenizer& tokenizer,
                                 std::span<const std::string> prompts,
                                 const GenerateOptions& options, const TextCallback& on_text = {},
                                 GenerateStats* stats = nullptr);

/// Continues one text; `on_text` gets 0 as its sequence. Throws as generate().
Generation generate_one(const CausalLm& model, const Tokenizer& tokenizer,
                        const std::string& prompt, const GenerateOptions& options,
                        const TextCallback& on_text = {}, GenerateStats* stats = nullptr);

/// As generate() for prompts that are encoded already, a chat's for example.
std::vector<Generation> generate_from_ids(const CausalLm& model, const Tokenizer& tokenizer,
                                          std::span<const std::vector<std::int32_t>> prompts,
                                          const GenerateOptions& options,
                                          const TextCallback& on_text = {},
                                          GenerateStats* stats = nullptr);

}  // namespace wick

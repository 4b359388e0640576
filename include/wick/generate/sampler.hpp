#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace wick {

/// How the next token is drawn, with the names and neutral values of llama.cpp, transformers and mlx-lm.
struct SamplingOptions {
  double temperature = 0;  ///< 0: the most likely token (greedy), the lowest id among equals
  std::int64_t top_k = 0;  ///< keep the k most likely, the lower id first among equals; 0: all
  double top_p = 1;        ///< keep the fewest most likely whose probabilities reach p; 1: all
  double min_p = 0;        ///< keep those with at least p times the largest probability
  double repetition_penalty =
      1;  ///< divides positive, multiplies negative logits of tokens seen before
  double presence_penalty = 0;   ///< subtracted from the logits of tokens generated before
  double frequency_penalty = 0;  ///< as above, times how often
  std::int64_t repetition_context_size = 0;  ///< penalties look at the last n tokens; 0: all
  std::uint64_t seed = 0;

  /// Throws Error kArgument naming a value that is out of range.
  void check() const;
};

/// Draws tokens for one sequence.
///
/// The order is penalties, temperature, top-k, top-p, min-p, as in transformers and mlx-lm: penalties change the scores
/// that the model gave, so they come before scores become probabilities; top-p and min-p speak of the probabilities that
/// are drawn from, so temperature comes before them; top-k, which cares for neither, comes first because it leaves
/// little to do. Each filter sees what the one before it left, with probabilities that sum to 1.
///
/// A draw is a function of options, stream, its number and the logits: the same ones give the same tokens whatever else
/// runs, and on every machine.
class Sampler {
 public:
  /// `stream` tells the sequences of a batch apart. Throws as SamplingOptions::check().
  explicit Sampler(const SamplingOptions& options, std::uint64_t stream = 0);
  /// Counts a prompt for the repetition penalty. Throws Error kArgument for a negative id.
  void accept_prompt(std::span<const std::int32_t> ids);
  /// The next token; it is counted as generated. A logit of −∞ is never chosen. Throws Error kArgument when a logit is NaN
  /// or +∞, when none is finite, and when a token seen before has no logit.
  std::int32_t next(std::span<const float> logits);
  /// True when next() is always the first of the largest logits: temperature 0 and no penalties.
  bool is_greedy() const noexcept;
  /// As next() for a token that somebody else has chosen.
  void take(std::int32_t id);
  /// The distribution that next() would draw from: (id, probability), most likely first. Throws as next().
  std::vector<std::pair<std::int32_t, double>> distribution(std::span<const float> logits) const;

 private:
  struct Seen {
    std::int64_t times = 0;
    std::int64_t times_generated = 0;
  };
  struct Token {
    std::int32_t id;
    bool is_generated;
  };

  void accept(Token token);
  std::int32_t choose(std::span<const float> logits) const;
  std::vector<double> scores(std::span<const float> logits) const;
  void penalise(std::vector<double>& scores) const;

  SamplingOptions options_;
  std::uint64_t stream_;
  std::uint64_t drawn_ = 0;
  bool has_penalties_;
  std::unordered_map<std::int32_t, Seen> seen_;
  std::deque<Token> window_;  // what seen_ counts, when only the last tokens do
};

}  // namespace wick

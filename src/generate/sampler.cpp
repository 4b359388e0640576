#include "wick/generate/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include "generate/uniform.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMost = std::numeric_limits<double>::max();

// A token that may be drawn; `value` is its score, later its weight: a multiple of its probability.
struct Candidate {
  std::int32_t id;
  double value;
};

bool comes_before(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

[[noreturn]] void refuse(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "sampling", rule);
}

void check_range(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return;  // NaN is in no range
  const std::string range = most == kMost ? fmt::format("finite and at least {}", least)
                                          : fmt::format("in [{}, {}]", least, most);
  refuse(fmt::format("{} must be {}, got {}", name, range, value));
}

void check_finite(const char* name, double value) {
  if (!std::isfinite(value)) refuse(fmt::format("{} must be finite, got {}", name, value));
}

void check_count(const char* name, std::int64_t value) {
  if (value < 0) refuse(fmt::format("{} must be at least 0, got {}", name, value));
}

std::int32_t most_likely(const std::vector<double>& scores) {
  const auto best = std::max_element(scores.begin(), scores.end());  // the first of equals
  return static_cast<std::int32_t>(best - scores.begin());
}

// The first of the largest. Refuses logits that name no token.
std::int32_t most_likely_checked(std::span<const float> logits) {
  constexpr float kInfiniteLogit = std::numeric_limits<float>::infinity();
  float largest = -kInfiniteLogit;
  std::size_t at = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] < kInfiniteLogit)) {
      refuse(fmt::format("logit {} of {} is {}", i, logits.size(), logits[i]));
    }
    if (logits[i] <= largest) continue;
    largest = logits[i];
    at = i;
  }
  if (largest == -kInfiniteLogit) {
    refuse(fmt::format("none of {} logits is finite", logits.size()));
  }
  return static_cast<std::int32_t>(at);
}

// Keeps the `count` most likely, the least of them last.
void keep_best(std::vector<Candidate>& kept, std::size_t count) {
  if (kept.size() <= count) return;
  const auto last = kept.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::nth_element(kept.begin(), last, kept.end(), comes_before);
  kept.resize(count);
}

std::vector<Candidate> as_candidates(const std::vector<double>& scores) {
  std::vector<Candidate> all;
  all.reserve(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != -kInfinity) all.push_back({static_cast<std::int32_t>(i), scores[i]});
  }
  return all;
}

// The k most likely, in order: it is the same with every standard library, and a draw adds weights up one by one. Most of a vocabulary is passed over with one comparison: it scores less than k others that are
// known already.
std::vector<Candidate> top_k_candidates(const std::vector<double>& scores, std::size_t k) {
  std::vector<Candidate> kept;
  kept.reserve(std::min(2 * k, scores.size()));
  double least = -kInfinity;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] <= least) continue;
    kept.push_back({static_cast<std::int32_t>(i), scores[i]});
    if (kept.size() < 2 * k) continue;
    keep_best(kept, k);
    least = kept.back().value;
  }
  keep_best(kept, k);
  std::sort(kept.begin(), kept.end(), comes_before);
  return kept;
}

// Scores become weights, 1 for the most likely token.
void weigh(std::vector<Candidate>& kept, double temperature) {
  double largest = -kInfinity;
  for (const Candidate& candidate : kept) largest = std::max(largest, candidate.value);
  for (Candidate& candidate : kept) {
    candidate.value = std::exp((candidate.value - largest) / temperature);
  }
  std::erase_if(kept, [](const Candidate& candidate) { return candidate.value == 0; });
}

double total_weight(const std::vector<Candidate>& kept) {
  double total = 0;
  for (const Candidate& candidate : kept) total += candidate.value;
  return total;
}

// Weights of at least the result make up `wanted`; found by trying, each time a tenth.
double least_weight(const std::vector<Candidate>& kept, double wanted) {
  constexpr double kTooSmallToTry = 1e-12;
  for (double least = 0.1; least > kTooSmallToTry; least /= 10) {
    double sum = 0;
    for (const Candidate& candidate : kept) {
      if (candidate.value >= least) sum += candidate.value;
    }
    if (sum >= wanted) return least;
  }
  return 0;
}

// Few tokens usually reach p, and only they need an order.
void keep_top_p(std::vector<Candidate>& kept, double p) {
  if (p == 1) return;
  const double wanted = p * total_weight(kept);
  const double least = least_weight(kept, wanted);
  std::erase_if(kept, [least](const Candidate& candidate) { return candidate.value < least; });
  std::sort(kept.begin(), kept.end(), comes_before);
  double sum = 0;
  for (std::size_t count = 1; count <= kept.size(); ++count) {
    sum += kept[count - 1].value;
    if (sum < wanted) continue;
    kept.resize(count);
    return;
  }
}

std::vector<Candidate> filter(const std::vector<double>& scores, const SamplingOptions& options) {
  const auto k = static_cast<std::size_t>(options.top_k);
  std::vector<Candidate> kept =
      k == 0 || k >= scores.size() ? as_candidates(scores) : top_k_candidates(scores, k);
  weigh(kept, options.temperature);
  keep_top_p(kept, options.top_p);
  // The largest weight is 1, so that a weight is the ratio that min-p asks for.
  std::erase_if(kept, [&](const Candidate& candidate) { return candidate.value < options.min_p; });
  return kept;
}

}  // namespace

void SamplingOptions::check() const {
  check_range("temperature", temperature, 0, kMost);
  check_count("top_k", top_k);
  check_range("top_p", top_p, 0, 1);
  check_range("min_p", min_p, 0, 1);
  if (!(repetition_penalty > 0) || !std::isfinite(repetition_penalty)) {
    refuse(
        fmt::format("repetition_penalty must be finite and above 0, got {}", repetition_penalty));
  }
  check_finite("presence_penalty", presence_penalty);
  check_finite("frequency_penalty", frequency_penalty);
  check_count("repetition_context_size", repetition_context_size);
}

Sampler::Sampler(const SamplingOptions& options, std::uint64_t stream)
    : options_(options),
      stream_(stream),
      has_penalties_(options.repetition_penalty != 1 || options.presence_penalty != 0 ||
                     options.frequency_penalty != 0) {
  options_.check();
}

void Sampler::accept(Token token) {
  if (!has_penalties_) return;
  const auto count = [this](const Token& counted, std::int64_t change) {
    Seen& seen = seen_[counted.id];
    seen.times += change;
    if (counted.is_generated) seen.times_generated += change;
    if (seen.times == 0) seen_.erase(counted.id);
  };
  count(token, 1);
  if (options_.repetition_context_size == 0) return;
  window_.push_back(token);
  if (static_cast<std::int64_t>(window_.size()) > options_.repetition_context_size) {
    count(window_.front(), -1);
    window_.pop_front();
  }
}

void Sampler::accept_prompt(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (id < 0) refuse(fmt::format("a token id of the prompt is {}", id));
    accept({.id = id, .is_generated = false});
  }
}

void Sampler::penalise(std::vector<double>& scores) const {
  // Penalties of absurd size must not make infinities: the difference of two would be NaN.
  const auto bounded = [](double value) { return std::clamp(value, -kMost, kMost); };
  const double repetition = options_.repetition_penalty;
  for (const auto& [id, seen] : seen_) {
    const auto at = static_cast<std::size_t>(id);
    if (at >= scores.size()) {
      refuse(fmt::format("token {} was seen before, but there are {} logits", id, scores.size()));
    }
    double& score = scores[at];
    if (score == -kInfinity) continue;
    const auto times = static_cast<double>(seen.times_generated);
    score = bounded(score > 0 ? score / repetition : score * repetition);
    if (times > 0) score = bounded(score - options_.presence_penalty);
    score = bounded(score - bounded(options_.frequency_penalty * times));
  }
}

std::vector<double> Sampler::scores(std::span<const float> logits) const {
  std::vector<double> scores(logits.begin(), logits.end());
  if (has_penalties_) penalise(scores);
  return scores;
}

std::int32_t Sampler::choose(std::span<const float> logits) const {
  const std::int32_t best = most_likely_checked(logits);
  const bool is_greedy = options_.temperature == 0;
  if (is_greedy && !has_penalties_) return best;
  const std::vector<double> now = scores(logits);
  if (is_greedy) return most_likely(now);
  const std::vector<Candidate> kept = filter(now, options_);
  const double wanted = detail::uniform(options_.seed, stream_, drawn_) * total_weight(kept);
  double sum = 0;
  for (const Candidate& candidate : kept) {
    sum += candidate.value;
    if (sum > wanted) return candidate.id;
  }
  return kept.back().id;  // the sum was rounded down
}

std::int32_t Sampler::next(std::span<const float> logits) {
  const std::int32_t id = choose(logits);
  take(id);
  return id;
}

bool Sampler::is_greedy() const noexcept { return options_.temperature == 0 && !has_penalties_; }

void Sampler::take(std::int32_t id) {
  ++drawn_;
  accept({.id = id, .is_generated = true});
}

std::vector<std::pair<std::int32_t, double>> Sampler::distribution(
    std::span<const float> logits) const {
  most_likely_checked(logits);
  const std::vector<double> now = scores(logits);
  if (options_.temperature == 0) return {{most_likely(now), 1.0}};
  std::vector<Candidate> kept = filter(now, options_);
  std::sort(kept.begin(), kept.end(), comes_before);
  const double total = total_weight(kept);
  std::vector<std::pair<std::int32_t, double>> result;
  result.reserve(kept.size());
  for (const Candidate& candidate : kept) {
    result.emplace_back(candidate.id, candidate.value / total);
  }
  return result;
}

}  // namespace wick

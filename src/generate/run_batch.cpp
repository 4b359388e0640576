#include "generate/run_batch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "generate/decode_batch.hpp"
#include "generate/stop_matcher.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::detail {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check_at_least_one(const char* name, std::int64_t value) {
  if (value >= 1) return;
  throw Error(ErrorKind::kArgument, "generate",
              fmt::format("{} must be at least 1, got {}", name, value));
}

// Leaves rows out whose sequence has ended. Copying the cache costs about as much as a few steps of the rows that
// remain, so it waits until half of them have ended.
void drop_ended(DecodeBatch& batch, std::vector<Sequence*>& rows) {
  std::vector<std::int64_t> kept;
  std::vector<Sequence*> live;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (!rows[row]->is_live()) continue;
    kept.push_back(static_cast<std::int64_t>(row));
    live.push_back(rows[row]);
  }
  if (live.empty()) {
    rows.clear();
  } else if (2 * live.size() <= rows.size()) {
    batch.keep(kept);
    rows = std::move(live);
  }
}

// Greedy sequences need no more than where the largest logit stands.
void draw(Sequence& sequence, NextLogits& logits, std::size_t row) {
  if (sequence.is_greedy()) {
    if (const auto id = logits.most_likely(row)) return sequence.take_next(*id);
  }
  sequence.draw(logits.row(row));  // which says what is wrong with logits that name no token
}

}  // namespace

void check_options(const GenerateOptions& options, const ModelConfig& config) {
  check_at_least_one("max_new_tokens", options.max_new_tokens);
  check_at_least_one("prefill_chunk", options.prefill_chunk);
  check_at_least_one("batch_size", options.batch_size);
  for (const std::int32_t id : options.stop_tokens) {
    if (id >= 0 && id < config.vocab_size) continue;
    throw Error(ErrorKind::kArgument, "generate",
                fmt::format("stop token {} is outside the model's vocabulary of {}", id,
                            config.vocab_size));
  }
  options.sampling.check();
  const StopMatcher checks_its_strings(options.stop);
}

void check_ids(const ModelConfig& config, std::span<const std::int32_t> ids,
               const std::string& name) {
  const auto refuse = [&name](const std::string& rule) {
    throw Error(ErrorKind::kArgument, "generate", name + " " + rule);
  };
  if (ids.empty()) refuse("is empty: it needs at least one token");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config.vocab_size) {
      refuse(fmt::format("has id {} at position {}, the model's vocabulary has {}", ids[i], i,
                         config.vocab_size));
    }
  }
}

std::int64_t token_limit(const GenerateOptions& options, std::int64_t num_prompt_tokens,
                         std::int64_t context) {
  return std::min(options.max_new_tokens, context - num_prompt_tokens);
}

void run_batch(const CausalLm& model, KvCache& cache,
               std::span<const std::span<const std::int32_t>> prompts,
               std::span<Sequence> sequences, std::int64_t prefill_chunk, GenerateStats& stats) {
  const NoGradGuard no_gradient;
  DecodeBatch batch(model, cache);
  std::vector<Sequence*> rows;
  rows.reserve(sequences.size());
  for (Sequence& sequence : sequences) rows.push_back(&sequence);

  const Clock::time_point begin = Clock::now();
  NextLogits logits = batch.prefill(prompts, prefill_chunk);
  synchronize(model.device());  // the first draw would wait for them anyway, on the other clock
  stats.prefill_seconds += seconds_since(begin);
  for (const auto& prompt : prompts) {
    stats.num_prompt_tokens += static_cast<std::int64_t>(prompt.size());
  }

  const Clock::time_point decode_begin = Clock::now();
  for (;;) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (!rows[row]->is_live()) continue;
      draw(*rows[row], logits, row);
      ++stats.num_generated_tokens;
    }
    drop_ended(batch, rows);
    if (rows.empty()) break;
    std::vector<std::int32_t> ids;
    ids.reserve(rows.size());
    for (const Sequence* sequence : rows) {
      // An ended row reads on until it is dropped; nobody looks at its logits.
      ids.push_back(sequence->is_live() ? sequence->last_id() : 0);
    }
    logits = batch.step(ids);
  }
  stats.decode_seconds += seconds_since(decode_begin);
}

}  // namespace wick::detail

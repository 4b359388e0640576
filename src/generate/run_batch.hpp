#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "generate/sequence.hpp"
#include "wick/models/causal_lm.hpp"

namespace wick::detail {

/// Throws Error kArgument for options that are out of range, a stop token that the vocabulary lacks among them.
void check_options(const GenerateOptions& options, const ModelConfig& config);

/// Throws Error kArgument for no ids, and for one that the vocabulary lacks; `name` says whose.
void check_ids(const ModelConfig& config, std::span<const std::int32_t> ids,
               const std::string& name);

/// How many tokens may follow a prompt: options.max_new_tokens, or fewer when `context` positions are full before.
std::int64_t token_limit(const GenerateOptions& options, std::int64_t num_prompt_tokens,
                         std::int64_t context);

/// Reads the prompts into the cache, row by row, and continues them until every sequence has ended. A cache with one
/// row may hold positions already, which come before the prompt. Adds to `stats`.
void run_batch(const CausalLm& model, KvCache& cache,
               std::span<const std::span<const std::int32_t>> prompts,
               std::span<Sequence> sequences, std::int64_t prefill_chunk, GenerateStats& stats);

}  // namespace wick::detail

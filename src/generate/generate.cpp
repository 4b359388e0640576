#include "wick/generate/generate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "generate/run_batch.hpp"
#include "generate/sequence.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using Prompts = std::span<const std::vector<std::int32_t>>;

// The text of prompt i; nothing where only ids are wanted.
using MakeOutput = std::function<std::optional<detail::TextOutput>(std::int64_t)>;

void check_prompt(const ModelConfig& config, std::span<const std::int32_t> prompt,
                  std::size_t number) {
  const std::string name = fmt::format("prompt {}", number);
  detail::check_ids(config, prompt, name);
  if (static_cast<std::int64_t>(prompt.size()) >= config.max_position_embeddings) {
    throw Error(ErrorKind::kArgument, "generate",
                fmt::format("{} has {} tokens, which leaves no room in a context of {}", name,
                            prompt.size(), config.max_position_embeddings));
  }
}

// Prompts first, first + 1, … together, into `results` from there on.
void run_group(const CausalLm& model, Prompts prompts, std::int64_t first,
               const GenerateOptions& options, const MakeOutput& make_output,
               std::vector<Generation>& results, GenerateStats& stats) {
  std::vector<std::int64_t> end_tokens;
  if (!options.ignore_eos) end_tokens = model.config().eos_token_ids;
  std::vector<detail::Sequence> sequences;
  std::vector<std::span<const std::int32_t>> rows;
  std::int64_t longest = 0;
  std::int64_t limit = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::int64_t number = first + static_cast<std::int64_t>(i);
    const auto length = static_cast<std::int64_t>(prompts[i].size());
    const std::int64_t row_limit =
        detail::token_limit(options, length, model.config().max_position_embeddings);
    longest = std::max(longest, length);
    limit = std::max(limit, row_limit);
    rows.emplace_back(prompts[i]);
    sequences.emplace_back(options, end_tokens, prompts[i], row_limit,
                           static_cast<std::uint64_t>(number), make_output(number));
  }
  // The token drawn last is never read.
  KvCache cache = model.make_cache(static_cast<std::int64_t>(rows.size()), longest + limit - 1);
  detail::run_batch(model, cache, rows, sequences, options.prefill_chunk, stats);
  for (detail::Sequence& sequence : sequences) results.push_back(sequence.take());
}

std::vector<Generation> run_all(const CausalLm& model, Prompts prompts,
                                const GenerateOptions& options, const MakeOutput& make_output,
                                GenerateStats* stats) {
  detail::check_options(options, model.config());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    check_prompt(model.config(), prompts[i], i);
  }
  GenerateStats sums;
  std::vector<Generation> results;
  const auto size = static_cast<std::size_t>(options.batch_size);
  for (std::size_t begin = 0; begin < prompts.size(); begin += size) {
    const std::size_t count = std::min(size, prompts.size() - begin);
    run_group(model, prompts.subspan(begin, count), static_cast<std::int64_t>(begin), options,
              make_output, results, sums);
  }
  if (stats != nullptr) *stats = sums;
  return results;
}

}  // namespace

std::string_view to_string(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEndToken:
      return "eos";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::vector<std::vector<std::int32_t>> generate_ids(const CausalLm& model, Prompts prompts,
                                                    const GenerateOptions& options,
                                                    GenerateStats* stats) {
  if (!options.stop.empty()) {
    throw Error(ErrorKind::kArgument, "generate_ids",
                "stop strings need a tokenizer; stop_tokens do not", {},
                "call generate_from_ids()");
  }
  const auto no_text = [](std::int64_t) { return std::optional<detail::TextOutput>(); };
  std::vector<std::vector<std::int32_t>> ids;
  for (Generation& result : run_all(model, prompts, options, no_text, stats)) {
    ids.push_back(std::move(result.ids));
  }
  return ids;
}

std::vector<Generation> generate_from_ids(const CausalLm& model, const Tokenizer& tokenizer,
                                          Prompts prompts, const GenerateOptions& options,
                                          const TextCallback& on_text, GenerateStats* stats) {
  const auto make_output = [&](std::int64_t number) {
    detail::TextSink sink;
    if (on_text) {
      sink = [&on_text, number](std::string_view text) { return on_text(number, text); };
    }
    return std::optional<detail::TextOutput>(std::in_place, tokenizer, options.stop,
                                             std::move(sink));
  };
  return run_all(model, prompts, options, make_output, stats);
}

std::vector<Generation> generate(const CausalLm& model, const Tokenizer& tokenizer,
                                 std::span<const std::string> prompts,
                                 const GenerateOptions& options, const TextCallback& on_text,
                                 GenerateStats* stats) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& prompt : prompts) ids.push_back(tokenizer.encode(prompt));
  return generate_from_ids(model, tokenizer, ids, options, on_text, stats);
}

Generation generate_one(const CausalLm& model, const Tokenizer& tokenizer,
                        const std::string& prompt, const GenerateOptions& options,
                        const TextCallback& on_text, GenerateStats* stats) {
  return generate(model, tokenizer, {&prompt, 1}, options, on_text, stats).front();
}

}  // namespace wick

#include "generate/decode_batch.hpp"

#include <algorithm>
#include <cmath>

#include "generate/padding.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/reduce.hpp"
#include "wick/ops/view.hpp"

namespace wick::detail {

namespace {

constexpr std::int32_t kPaddingId = 0;  // any id of the vocabulary: its keys are hidden

// The positions [B,T] of columns begin … end − 1.
Tensor row_positions(const std::vector<std::int64_t>& padding, std::int64_t begin, std::int64_t end,
                     Device device) {
  std::vector<std::int32_t> values;
  for (const std::int64_t first : padding) {
    for (std::int64_t column = begin; column < end; ++column) {
      values.push_back(position_of(column, first));
    }
  }
  const auto rows = static_cast<std::int64_t>(padding.size());
  return Tensor::from_values(values, {rows, end - begin}, device);
}

}  // namespace

NextLogits::NextLogits(const Tensor& logits)
    : logits_(reshape(logits, {logits.dim(0), logits.dim(-1)})) {}

std::span<const float> NextLogits::row(std::size_t i) {
  if (values_.empty()) values_ = logits_.to_vector<float>();
  const auto size = static_cast<std::size_t>(logits_.dim(1));
  return std::span<const float>(values_).subspan(i * size, size);
}

std::optional<std::int32_t> NextLogits::most_likely(std::size_t i) {
  if (best_.empty()) {
    const ValuesAndIndices found = max(logits_, 1);
    best_ = found.indices.to_vector<std::int64_t>();
    largest_ = found.values.to_vector<float>();
  }
  if (!std::isfinite(largest_[i])) return {};  // a NaN counts as largest
  return static_cast<std::int32_t>(best_[i]);
}

Tensor DecodeBatch::pass(std::span<const std::int32_t> ids) {
  const auto rows = static_cast<std::int64_t>(padding_.size());
  const auto count = static_cast<std::int64_t>(ids.size()) / rows;
  const Device device = model_.device();
  CausalPass pass{.cache = &cache_};
  if (is_padded_) {
    const std::int64_t begin = cache_.length();
    pass.positions = row_positions(padding_, begin, begin + count, device);
    pass.key_mask = mask_of_padding(padding_, begin + count, begin + count, device);
  }
  return model_.hidden(Tensor::from_values(ids, {rows, count}, device), pass);
}

NextLogits DecodeBatch::logits_of_last(const Tensor& hidden) const {
  const std::int64_t count = hidden.dim(1);
  return NextLogits(model_.logits(slice(hidden, 1, count - 1, count)));
}

NextLogits DecodeBatch::prefill(std::span<const std::span<const std::int32_t>> prompts,
                                std::int64_t chunk) {
  std::size_t columns = 0;
  for (const auto& prompt : prompts) columns = std::max(columns, prompt.size());
  padding_.clear();
  is_padded_ = false;
  for (const auto& prompt : prompts) {
    padding_.push_back(static_cast<std::int64_t>(columns - prompt.size()));
    is_padded_ = is_padded_ || prompt.size() < columns;
  }

  Tensor hidden;
  const auto step = static_cast<std::size_t>(chunk);
  for (std::size_t begin = 0; begin < columns; begin += step) {
    const std::size_t end = begin + std::min(step, columns - begin);
    std::vector<std::int32_t> ids;
    for (const auto& prompt : prompts) {
      const std::size_t first = columns - prompt.size();
      for (std::size_t column = begin; column < end; ++column) {
        ids.push_back(column < first ? kPaddingId : prompt[column - first]);
      }
    }
    hidden = pass(ids);
  }
  return logits_of_last(hidden);
}

NextLogits DecodeBatch::step(std::span<const std::int32_t> ids) {
  const std::int64_t end = cache_.length() + 1;
  if (!records_ || !RecordedStep::suits(model_.config(), cache_, end)) {
    recorded_.reset();
    return logits_of_last(pass(ids));
  }
  if (!recorded_ || end > recorded_->visible()) {
    recorded_.reset();  // first, so that there are never two
    recorded_.emplace(model_, cache_, padding_);
  }
  return NextLogits(recorded_->run(ids));
}

void DecodeBatch::keep(const std::vector<std::int64_t>& rows) {
  recorded_.reset();
  cache_.keep_rows(rows);
  std::vector<std::int64_t> kept;
  kept.reserve(rows.size());
  for (const std::int64_t row : rows) kept.push_back(padding_[static_cast<std::size_t>(row)]);
  padding_ = std::move(kept);
  is_padded_ = std::any_of(padding_.begin(), padding_.end(), [](auto n) { return n > 0; });
}

}  // namespace wick::detail

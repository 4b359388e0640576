#include "generate/recorded_step.hpp"

#include <algorithm>
#include <utility>

#include "generate/padding.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::detail {

namespace {

// Positions that a recording has room for: a new one costs as much as a few steps, hidden keys are read for nothing.
constexpr std::int64_t kPositions = 256;

std::int64_t visible_for(const KvCache& cache, std::int64_t end) {
  return std::min(cache.capacity(), (end + kPositions - 1) / kPositions * kPositions);
}

}  // namespace

bool can_record(Device device) { return current_stream(device).supports_capture(); }

bool RecordedStep::suits(const ModelConfig& config, const KvCache& cache, std::int64_t end) {
  const std::int64_t visible = visible_for(cache, end);
  return visible >= end && std::ranges::all_of(config.layer_windows, [&](std::int64_t window) {
           return window == 0 || window >= visible;
         });
}

RecordedStep::RecordedStep(const CausalLm& model, KvCache& cache, std::vector<std::int64_t> padding)
    : model_(model),
      cache_(cache),
      padding_(std::move(padding)),
      visible_(visible_for(cache, cache.length() + 1)) {
  const auto rows = static_cast<std::int64_t>(padding_.size());
  inputs_ = Tensor::zeros({2 * rows + 1}, DType::kI32, model.device());
  key_mask_ = mask_of_padding(padding_, cache.length(), visible_, model.device());
  cache_.read_position(reshape(slice(inputs_, 0, 2 * rows, 2 * rows + 1), {}), visible_);
}

RecordedStep::~RecordedStep() { cache_.stop_reading_position(); }

void RecordedStep::write_inputs(std::span<const std::int32_t> ids) {
  const std::int64_t column = cache_.length();
  std::vector<std::int32_t> values(ids.begin(), ids.end());
  for (const std::int64_t first : padding_) values.push_back(position_of(column, first));
  values.push_back(static_cast<std::int32_t>(column));
  copy_(inputs_, Tensor::from_values(values, inputs_.shape(), model_.device()));
  fill_(slice(key_mask_, 1, column, column + 1), 1);
}

Tensor RecordedStep::compute() {
  const auto rows = static_cast<std::int64_t>(padding_.size());
  const auto column_of = [&](std::int64_t begin) {
    return reshape(slice(inputs_, 0, begin, begin + rows), {rows, 1});
  };
  const CausalPass pass{.positions = column_of(rows), .key_mask = key_mask_, .cache = &cache_};
  return model_.logits(model_.hidden(column_of(0), pass));
}

void RecordedStep::record(Stream& stream) {
  const std::int64_t length = cache_.length();
  stream.begin_capture();
  try {
    logits_ = compute();
  } catch (...) {
    cache_.truncate(length);
    try {
      stream.end_capture();
    } catch (const Error&) {  // the first failure is the one to hear of
    }
    throw;
  }
  graph_ = stream.end_capture();
}

Tensor RecordedStep::run(std::span<const std::int32_t> ids) {
  Stream& stream = current_stream(model_.device());
  write_inputs(ids);
  if (graph_ != nullptr) {
    stream.replay(*graph_);
    cache_.advance(1);
    return logits_;
  }
  if (has_run_ && stream.supports_capture()) {
    record(stream);
    stream.replay(*graph_);
    return logits_;
  }
  has_run_ = true;
  return compute();
}

}  // namespace wick::detail

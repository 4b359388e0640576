#include "wick/train/batches.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>

#include "train/packing.hpp"
#include "train/shuffle.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using detail::SampleRow;

constexpr std::int32_t kNoTarget = -100;
constexpr std::int32_t kNoSegment = -1;
constexpr std::int64_t kLengthStep = 8;
// Batches' worth of samples that are sorted by length together.
constexpr std::int64_t kSortedBatches = 64;

[[noreturn]] void refuse(std::string rule) {
  throw Error(ErrorKind::kArgument, "batches", std::move(rule));
}

std::vector<std::int64_t> lengths_of(const Dataset& dataset) {
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(dataset.size()));
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    lengths[static_cast<std::size_t>(i)] = static_cast<std::int64_t>(dataset[i].ids.size());
  }
  return lengths;
}

void check_plan(std::span<const std::int64_t> lengths, const BatchOptions& options,
                std::int64_t epoch) {
  if (lengths.empty()) refuse("the data set is empty");
  if (options.batch_size < 1) {
    refuse(fmt::format("batch_size must be at least 1, got {}", options.batch_size));
  }
  if (options.max_seq_length < 1) {
    refuse(fmt::format("max_seq_length must be at least 1, got {}", options.max_seq_length));
  }
  if (epoch < 0) refuse(fmt::format("epochs count from 0, got {}", epoch));
  if (!options.packing) return;
  const auto too_long = std::ranges::find_if(
      lengths, [&](std::int64_t length) { return length > options.max_seq_length; });
  if (too_long != lengths.end()) {
    refuse(fmt::format("with packing a sample must fit into a row of {} tokens, sample {} has {}",
                       options.max_seq_length, too_long - lengths.begin(), *too_long));
  }
}

std::vector<SampleRow> one_sample_a_row(std::span<const std::int64_t> order) {
  std::vector<SampleRow> rows;
  rows.reserve(order.size());
  for (const std::int64_t sample : order) rows.push_back({sample});
  return rows;
}

std::vector<std::vector<SampleRow>> cut_into_batches(std::vector<SampleRow> rows,
                                                     std::size_t batch_size) {
  std::vector<std::vector<SampleRow>> batches;
  for (std::size_t begin = 0; begin < rows.size(); begin += batch_size) {
    const std::size_t end = begin + std::min(batch_size, rows.size() - begin);
    batches.emplace_back(std::make_move_iterator(rows.begin() + static_cast<std::ptrdiff_t>(begin)),
                         std::make_move_iterator(rows.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  return batches;
}

// Packed rows are almost full: nearly all batches are as long as the limit then, and what a device has recorded for one
// serves the next.
std::int64_t length_step(const BatchOptions& options) {
  return options.packing ? std::max(kLengthStep, options.max_seq_length / 16) : kLengthStep;
}

// Few different lengths, so that memory of one step fits the next; never beyond the limit for that.
std::int64_t padded_length(std::int64_t longest, std::int64_t step, std::int64_t limit) {
  const std::int64_t rounded = (longest + step - 1) / step * step;
  return std::max(longest, std::min(rounded, limit));
}

MicroBatch empty_batch(std::int64_t batch_size, std::int64_t length) {
  const auto n = static_cast<std::size_t>(batch_size * length);
  return {.batch_size = batch_size,
          .length = length,
          .ids = std::vector<std::int32_t>(n, 0),
          .targets = std::vector<std::int32_t>(n, kNoTarget),
          .positions = std::vector<std::int32_t>(n, 0),
          .segments = std::vector<std::int32_t>(n, kNoSegment)};
}

// Writes a sample to the elements from `begin`.
void put_sample(const Sample& sample, std::size_t begin, std::int32_t segment, MicroBatch& batch) {
  const std::size_t length = sample.ids.size();
  for (std::size_t t = 0; t < length; ++t) {
    batch.ids[begin + t] = sample.ids[t];
    batch.positions[begin + t] = static_cast<std::int32_t>(t);
    batch.segments[begin + t] = segment;
    if (t + 1 < length && sample.is_target[t + 1] != 0) {
      batch.targets[begin + t] = sample.ids[t + 1];
      ++batch.num_targets;
    }
  }
  batch.num_tokens += static_cast<std::int64_t>(length);
}

}  // namespace

EpochPlan::EpochPlan(const Dataset& dataset, const BatchOptions& options, std::int64_t epoch)
    : dataset_(dataset),
      max_seq_length_(options.max_seq_length),
      length_step_(length_step(options)) {
  const std::vector<std::int64_t> lengths = lengths_of(dataset);
  check_plan(lengths, options, epoch);
  const auto batch_size = static_cast<std::size_t>(
      std::min(options.batch_size, static_cast<std::int64_t>(lengths.size())));
  detail::ShuffleRandom random(options.seed, epoch);
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  if (options.shuffle) random.shuffle(order);
  if (options.packing) {
    std::vector<SampleRow> rows =
        options.shuffle ? detail::pack_best_fit(order, lengths, options.max_seq_length)
                        : detail::pack_in_order(order, lengths, options.max_seq_length);
    if (options.shuffle) random.shuffle(rows);
    batches_ = cut_into_batches(std::move(rows), batch_size);
    return;
  }
  if (options.shuffle) detail::sort_windows(order, lengths, batch_size * kSortedBatches);
  batches_ = cut_into_batches(one_sample_a_row(order), batch_size);
  if (options.shuffle) random.shuffle(batches_);
}

const std::vector<std::vector<std::int64_t>>& EpochPlan::rows(std::int64_t i) const {
  if (i < 0 || i >= size()) {
    refuse(fmt::format("there is no micro-batch {}: the epoch has {}", i, size()));
  }
  return batches_[static_cast<std::size_t>(i)];
}

MicroBatch EpochPlan::batch(std::int64_t i) const {
  std::int64_t longest = 0;
  for (const SampleRow& row : rows(i)) {
    std::int64_t used = 0;
    for (const std::int64_t sample : row) {
      used += static_cast<std::int64_t>(dataset_[sample].ids.size());
    }
    longest = std::max(longest, used);
  }
  const auto num_rows = static_cast<std::int64_t>(rows(i).size());
  MicroBatch batch = empty_batch(num_rows, padded_length(longest, length_step_, max_seq_length_));
  std::size_t row_begin = 0;
  for (const SampleRow& row : rows(i)) {
    std::size_t begin = row_begin;
    std::int32_t segment = 0;
    for (const std::int64_t number : row) {
      const Sample sample = dataset_[number];
      put_sample(sample, begin, segment++, batch);
      begin += sample.ids.size();
    }
    row_begin += static_cast<std::size_t>(batch.length);
  }
  return batch;
}

MicroBatch pad_samples(const std::vector<Sample>& samples) {
  if (samples.empty()) refuse("there are no samples");
  std::size_t longest = 0;
  for (const Sample& sample : samples) {
    if (sample.ids.empty()) refuse("a sample has no tokens");
    if (sample.ids.size() != sample.is_target.size()) {
      refuse(fmt::format("a sample has {} ids, but {} marks of targets", sample.ids.size(),
                         sample.is_target.size()));
    }
    longest = std::max(longest, sample.ids.size());
  }
  MicroBatch batch =
      empty_batch(static_cast<std::int64_t>(samples.size()), static_cast<std::int64_t>(longest));
  for (std::size_t row = 0; row < samples.size(); ++row) {
    put_sample(samples[row], row * longest, 0, batch);
  }
  return batch;
}

}  // namespace wick

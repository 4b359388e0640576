#include "wick/nn/kv_cache.hpp"

#include <algorithm>
#include <string>

#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"

namespace wick {

namespace {

[[noreturn]] void fail(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "kv_cache", rule);
}

}  // namespace

KvCache::KvCache(std::int64_t num_layers, std::int64_t batch, std::int64_t capacity,
                 std::int64_t num_kv_heads, std::int64_t head_dim, DType dtype, Device device)
    : batch_(batch), capacity_(capacity) {
  if (std::min({num_layers, batch, capacity, num_kv_heads, head_dim}) < 1) {
    fail("layers, batch, capacity, heads and head size must be at least 1");
  }
  const Shape shape{batch, capacity, num_kv_heads, head_dim};
  for (std::int64_t layer = 0; layer < num_layers; ++layer) {
    k_.push_back(Tensor::empty(shape, dtype, device));
    v_.push_back(Tensor::empty(shape, dtype, device));
  }
}

KvCache::Keys KvCache::append(std::int64_t layer, const Tensor& k, const Tensor& v) {
  const std::int64_t end = length_ + k.dim(1);
  if (end > capacity_) {
    fail("holds " + std::to_string(capacity_) + " positions, asked for " + std::to_string(end));
  }
  const NoGradGuard no_gradient;
  const auto write = [&](const Tensor& memory, const Tensor& added) {
    copy_(slice(memory, 1, length_, end), added.detach());
    return slice(memory, 1, 0, end);
  };
  const auto at = static_cast<std::size_t>(layer);
  return {.k = write(k_.at(at), k), .v = write(v_.at(at), v)};
}

void KvCache::advance(std::int64_t count) { length_ += count; }

void KvCache::truncate(std::int64_t length) {
  if (length < 0 || length > length_) {
    fail("cannot be cut from " + std::to_string(length_) + " to " + std::to_string(length));
  }
  length_ = length;
}

void KvCache::keep_rows(const std::vector<std::int64_t>& rows) {
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= batch_) fail("has no row " + std::to_string(row));
  }
  const NoGradGuard no_gradient;
  for (std::vector<Tensor>* side : {&k_, &v_}) {
    for (Tensor& memory : *side) {
      std::vector<Tensor> kept;
      for (const std::int64_t row : rows) kept.push_back(slice(memory, 0, row, row + 1));
      memory = concatenate(kept, 0);
    }
  }
  batch_ = static_cast<std::int64_t>(rows.size());
}

}  // namespace wick

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

// [B,T,Hkv,Dh] with any T: a batch of another size must not be repeated into the cache.
void check_shape(const Tensor& memory, const Tensor& added) {
  const bool fits = added.rank() == 4 && added.dim(0) == memory.dim(0) &&
                    added.dim(2) == memory.dim(2) && added.dim(3) == memory.dim(3);
  if (fits) return;
  throw Error(ErrorKind::kShape, "kv_cache",
              "k and v must be [" + std::to_string(memory.dim(0)) + ",T," +
                  std::to_string(memory.dim(2)) + "," + std::to_string(memory.dim(3)) + "], got " +
                  to_string(added.shape()));
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
  if (layer < 0 || layer >= static_cast<std::int64_t>(k_.size())) {
    fail("has no layer " + std::to_string(layer));
  }
  const auto at = static_cast<std::size_t>(layer);
  check_shape(k_[at], k);
  check_shape(v_[at], v);
  if (k.dim(1) != v.dim(1)) {
    throw Error(ErrorKind::kShape, "kv_cache",
                "k and v must have one length, got " + std::to_string(k.dim(1)) + " and " +
                    std::to_string(v.dim(1)));
  }
  if (grad_enabled() && (k.requires_grad() || v.requires_grad())) {
    throw Error(ErrorKind::kUnsupported, "kv_cache",
                "passes no gradient on, but k or v requires one", {},
                "decode under a NoGradGuard, or train without a cache");
  }
  const std::int64_t end = length_ + k.dim(1);
  check_room(k.dim(1));
  const NoGradGuard no_gradient;
  const auto write = [&](const Tensor& memory, const Tensor& added) {
    copy_(slice(memory, 1, length_, end), added.detach());
    return slice(memory, 1, 0, end);
  };
  return {.k = write(k_[at], k), .v = write(v_[at], v)};
}

void KvCache::check_room(std::int64_t count) const {
  if (count >= 0 && count <= capacity_ - length_) return;
  fail("holds " + std::to_string(capacity_) + " positions, " + std::to_string(length_) +
       " of them taken; asked for " + std::to_string(count) + " more");
}

void KvCache::advance(std::int64_t count) {
  check_room(count);
  length_ += count;
}

void KvCache::truncate(std::int64_t length) {
  if (length < 0 || length > length_) {
    fail("cannot be cut from " + std::to_string(length_) + " to " + std::to_string(length));
  }
  length_ = length;
}

void KvCache::keep_rows(const std::vector<std::int64_t>& rows) {
  if (rows.empty()) fail("must keep at least one row");
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

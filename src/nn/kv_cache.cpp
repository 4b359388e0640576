#include "wick/nn/kv_cache.hpp"

#include <algorithm>
#include <string>

#include "ops/checks.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/launch.hpp"
#include "tensor/tensor_impl.hpp"
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

void KvCache::check_added(std::size_t layer, const Tensor& k, const Tensor& v) const {
  check_shape(k_[layer], k);
  check_shape(v_[layer], v);
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
  check_room(k.dim(1));
}

KvCache::Keys KvCache::append(std::int64_t layer, const Tensor& k, const Tensor& v) {
  if (layer < 0 || layer >= static_cast<std::int64_t>(k_.size())) {
    fail("has no layer " + std::to_string(layer));
  }
  const auto at = static_cast<std::size_t>(layer);
  check_added(at, k, v);
  const NoGradGuard no_gradient;
  const DType dtype = k_[at].dtype();
  const Tensor added_k = detail::dense(cast(k.detach(), dtype));
  const Tensor added_v = detail::dense(cast(v.detach(), dtype));
  launch(kernels::kv_append, k_[at].device(),
         KvAppendArgs{.k = detail::view(added_k),
                      .v = detail::view(added_v),
                      .k_memory = detail::view(k_[at]),
                      .v_memory = detail::view(v_[at]),
                      .position = detail::view(position_),
                      .begin = length_});
  detail::bump_version(k_[at]);
  detail::bump_version(v_[at]);
  const std::int64_t end = position_.defined() ? visible_ : length_ + k.dim(1);
  return {.k = slice(k_[at], 1, 0, end), .v = slice(v_[at], 1, 0, end)};
}

void KvCache::read_position(const Tensor& position, std::int64_t visible) {
  const detail::Check check("kv_cache", {{"position", position}});
  check.that(position.dtype() == DType::kI32, ErrorKind::kDtype, "position must be i32");
  check.shape("position", position, {}, "one number");
  check.that(position.device() == k_.front().device(), ErrorKind::kDevice,
             "position must be on the cache's device, {}", to_string(k_.front().device()));
  if (visible < 1 || visible > capacity_) {
    fail("holds " + std::to_string(capacity_) + " positions; asked to show " +
         std::to_string(visible));
  }
  // A hidden value that is not a number would show through a weight of 0.
  const NoGradGuard no_gradient;
  for (const Tensor& v : v_) {
    if (length_ < visible) fill_(slice(v, 1, length_, visible), 0);
  }
  position_ = position;
  visible_ = visible;
}

void KvCache::stop_reading_position() { position_ = Tensor(); }

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
      kept.reserve(rows.size());
      for (const std::int64_t row : rows) kept.push_back(slice(memory, 0, row, row + 1));
      memory = concatenate(kept, 0);
    }
  }
  batch_ = static_cast<std::int64_t>(rows.size());
}

}  // namespace wick

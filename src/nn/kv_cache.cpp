#include "wick/nn/kv_cache.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/args/decode_attention_args.hpp"
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

std::size_t KvCache::check_layer(std::int64_t layer) const {
  if (layer >= 0 && layer < static_cast<std::int64_t>(k_.size())) {
    return static_cast<std::size_t>(layer);
  }
  fail("has no layer " + std::to_string(layer));
}

std::int64_t KvCache::visible_after(std::int64_t added) const {
  return position_.defined() ? visible_ : length_ + added;
}

KvCache::Keys KvCache::append(std::int64_t layer, const Tensor& k, const Tensor& v) {
  const std::size_t at = check_layer(layer);
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
  const std::int64_t end = visible_after(k.dim(1));
  return {.k = slice(k_[at], 1, 0, end), .v = slice(v_[at], 1, 0, end)};
}

// What the ops of attend() would refuse, and what they do otherwise, is left to them.
bool KvCache::suits_decoding(std::size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& positions, const RopeFrequencies& frequencies,
                             const AttentionOptions& options) const {
  const Tensor& memory = k_[layer];
  const Tensor& inv_freq = frequencies.inv_freq;
  if (q.rank() != 4 || q.dim(1) != 1 || q.dim(2) % memory.dim(2) != 0) return false;
  const Shape added{batch_, 1, memory.dim(2), memory.dim(3)};
  const auto is_here = [&](const Tensor& t) { return t.device() == memory.device(); };
  const bool fits = q.shape() == Shape{batch_, 1, q.dim(2), memory.dim(3)} && k.shape() == added &&
                    v.shape() == added && q.dtype() == memory.dtype() &&
                    k.dtype() == memory.dtype() && v.dtype() == memory.dtype() && is_here(q) &&
                    is_here(k) && is_here(v);
  const bool turns = (positions.dtype() == DType::kI32 || positions.dtype() == DType::kI64) &&
                     (positions.shape() == Shape{batch_, 1} || positions.shape() == Shape{1}) &&
                     is_here(positions) && inv_freq.dtype() == DType::kF32 &&
                     inv_freq.rank() == 1 && 2 * inv_freq.numel() <= memory.dim(3) &&
                     is_here(inv_freq);
  const Tensor& mask = options.key_mask;
  const bool sees = options.window >= 0 && options.scale >= 0 && std::isfinite(options.scale) &&
                    !options.segments.defined() &&
                    (!mask.defined() || (mask.dtype() == DType::kBool && is_here(mask) &&
                                         mask.shape() == Shape{batch_, visible_after(1)}));
  return fits && turns && sees && length_ < capacity_;
}

// Undefined where the device has no kernel for it.
Tensor KvCache::decode(std::size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& positions, const RopeFrequencies& frequencies,
                       const AttentionOptions& options) {
  const Tensor own_q = detail::dense_last_axis(q);
  const Tensor own_k = detail::dense_last_axis(k);
  const Tensor own_v = detail::dense_last_axis(v);
  const Tensor own_positions = detail::aligned(positions);
  const Tensor each_position = detail::with_layout(
      own_positions, *broadcast_to(detail::layout_of(own_positions), {batch_, 1}));
  const Tensor inv_freq = detail::dense(frequencies.inv_freq);
  Tensor out = Tensor::empty(q.shape(), q.dtype(), q.device());
  const double scale =
      options.scale > 0 ? options.scale : 1 / std::sqrt(static_cast<double>(q.dim(3)));
  const DecodeAttentionArgs args{
      .q = detail::view(own_q),
      .k = detail::view(own_k),
      .v = detail::view(own_v),
      .positions = detail::view(each_position),
      .inv_freq = detail::view(inv_freq),
      .k_memory = detail::view(k_[layer]),
      .v_memory = detail::view(v_[layer]),
      .position = detail::view(position_),
      .out = detail::view(out),
      .attention_factor = static_cast<float>(frequencies.attention_factor),
      .begin = length_,
      .visible = visible_after(1),
      .mask = {.causal = true,
               .window = options.window,
               .key_mask = detail::view(options.key_mask)},
      .scale = static_cast<float>(scale)};
  const KernelStatus status = try_launch(kernels::decode_attention, q.device(), args);
  if (status.is_unsupported()) return {};
  if (!status.is_ok()) throw_refused("decode_attention", q.device(), status, describe(args));
  detail::bump_version(k_[layer]);
  detail::bump_version(v_[layer]);
  return out;
}

Tensor KvCache::attend(std::int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& positions, const RopeFrequencies& frequencies,
                       const AttentionOptions& options) {
  const std::size_t at = check_layer(layer);
  check_added(at, k, v);
  if (suits_decoding(at, q, k, v, positions, frequencies, options)) {
    const NoGradGuard no_gradient;
    Tensor out = decode(at, q.detach(), k.detach(), v.detach(), positions, frequencies, options);
    if (out.defined()) return out;
  }
  const RotatedPair rotated = rope(q, k, positions, frequencies);
  const Keys keys = append(layer, rotated.k, v);
  return attention(rotated.q, keys.k, keys.v, options);
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

#pragma once

#include <cstdint>
#include <vector>

#include "wick/ops/attention.hpp"
#include "wick/ops/rope.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

/// Keys and values of the positions that a model has seen, for each layer. Memory for `capacity` positions is taken at once
/// and never moved.
class KvCache {
 public:
  /// Throws Error kArgument for sizes below 1, kOutOfMemory.
  KvCache(std::int64_t num_layers, std::int64_t batch, std::int64_t capacity,
          std::int64_t num_kv_heads, std::int64_t head_dim, DType dtype,
          Device device = kCpuDevice);

  /// What attention reads: all positions so far, the new ones included.
  struct Keys {
    Tensor k;  ///< [B,S,Hkv,Dh]
    Tensor v;  ///< as k
  };
  /// Writes k and v [B,T,Hkv,Dh] of one layer after the positions so far and answers views of the cache: nothing that it
  /// holds is copied. length() moves on with advance(). Throws Error kArgument when they do not fit or there is no
  /// such layer, kShape, and kUnsupported when k or v would pass a gradient on: a cache does not.
  Keys append(std::int64_t layer, const Tensor& k, const Tensor& v);
  /// A layer's attention from its projections on: rope() of q [B,T,H,Dh] and k [B,T,Hkv,Dh] by positions [B,T] or [T],
  /// append() of k and v, and attention() of q over all positions so far; result [B,T,H,Dh]. One new token of each sequence
  /// is one launch on GPUs whose blocks work in clusters. No gradient. Throws as these three.
  Tensor attend(std::int64_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                const Tensor& positions, const RopeFrequencies& frequencies,
                const AttentionOptions& options = {});
  /// From now on append() writes at position[0], an i32 of the device that is read when the work runs, and answers the
  /// first `visible` positions whatever length() is: work that is recorded once and repeated. What lies beyond
  /// length() among them must be hidden by a mask. Throws Error kArgument when there are not so many, kShape, kDtype,
  /// kDevice.
  void read_position(const Tensor& position, std::int64_t visible);
  /// append() is what it was.
  void stop_reading_position();
  /// Counts T positions as seen, after every layer has appended them. Throws Error kArgument when they do not fit.
  void advance(std::int64_t count);
  /// Forgets positions from `length` on. Throws Error kArgument when it is more than length().
  void truncate(std::int64_t length);
  /// Keeps the sequences of these rows only, in this order. Throws Error kArgument for a row that is not there and for
  /// no rows.
  void keep_rows(const std::vector<std::int64_t>& rows);

  /// Positions seen.
  std::int64_t length() const noexcept { return length_; }
  /// Positions that fit.
  std::int64_t capacity() const noexcept { return capacity_; }
  /// Sequences.
  std::int64_t batch() const noexcept { return batch_; }

 private:
  void check_room(std::int64_t count) const;
  std::size_t check_layer(std::int64_t layer) const;
  void check_added(std::size_t layer, const Tensor& k, const Tensor& v) const;
  std::int64_t visible_after(std::int64_t added) const;
  bool suits_decoding(std::size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                      const Tensor& positions, const RopeFrequencies& frequencies,
                      const AttentionOptions& options) const;
  Tensor decode(std::size_t layer, const Tensor& q, const Tensor& k, const Tensor& v,
                const Tensor& positions, const RopeFrequencies& frequencies,
                const AttentionOptions& options);

  std::vector<Tensor> k_;
  std::vector<Tensor> v_;
  std::int64_t batch_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  Tensor position_;           // undefined: length_
  std::int64_t visible_ = 0;  // with position_
};

}  // namespace wick

#pragma once

#include <cstdint>
#include <vector>

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
  void check_added(std::size_t layer, const Tensor& k, const Tensor& v) const;

  std::vector<Tensor> k_;
  std::vector<Tensor> v_;
  std::int64_t batch_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  Tensor position_;           // undefined: length_
  std::int64_t visible_ = 0;  // with position_
};

}  // namespace wick

#pragma once

#include <cstdint>

#include "layout/tensor_view.hpp"

namespace wick {

/// Which keys a query may look at. Query t of T stands at position S − T + t of S.
struct AttentionMask {
  bool causal = false;  ///< key position <= query position
  /// if not 0: query position − key position < window (and, not causal, key − query < window)
  std::int64_t window = 0;
  TensorView key_mask;  ///< [B,S] bool, any strides, may be absent: false hides the key
  TensorView segments;  ///< [B,S] i32, any strides, may be absent: equal numbers see each other
};

/// out = softmax(scale · q kᵀ + mask) v by tiles; memory beyond the outputs is independent of T · S.
/// q [B,T,H,Dh], k and v [B,S,Hkv,Dh], stride(3) = 1, H a multiple of Hkv (query head h uses key head
/// h · Hkv / H); out [B,T,H,Dh] dense, all of one dtype; lse [B,H,T] f32 dense, may be absent: the
/// logarithm of each row's sum of exponentials, −∞ for a row without keys, whose out is 0.
struct AttentionArgs {
  TensorView q, k, v, out, lse;
  AttentionMask mask;
  float scale = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("q", q);
    visit("k", k);
    visit("v", v);
    visit("key_mask", mask.key_mask);
    visit("segments", mask.segments);
    visit("out", out);
    visit("lse", lse);
  }
};

/// The gradients of AttentionArgs, with probabilities recomputed by tiles from lse. dout [B,T,H,Dh] and
/// out as above, dense; dq, dk, dv dense in the shapes of q, k, v; each may be absent.
struct AttentionBackwardArgs {
  TensorView dout, q, k, v, out, lse, dq, dk, dv;
  AttentionMask mask;
  float scale = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dout", dout);
    visit("q", q);
    visit("k", k);
    visit("v", v);
    visit("out", out);
    visit("lse", lse);
    visit("key_mask", mask.key_mask);
    visit("segments", mask.segments);
    visit("dq", dq);
    visit("dk", dk);
    visit("dv", dv);
  }
};

/// k_memory[b, begin + t] = k[b, t], and the same for v. k and v [B,T,Hkv,Dh], k_memory and v_memory [B,S,Hkv,Dh], all
/// dense and of one dtype. position [] i32, may be absent: begin is what stands there when the kernel runs; what
/// does not fit the memory then is left out.
struct KvAppendArgs {
  TensorView k, v, k_memory, v_memory, position;
  std::int64_t begin = 0;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("k", k);
    visit("v", v);
    visit("k_memory", k_memory);
    visit("v_memory", v_memory);
    visit("position", position);
  }
};

}  // namespace wick

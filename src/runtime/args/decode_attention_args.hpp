#pragma once

#include <cstdint>

#include "runtime/args/attention_args.hpp"

namespace wick {

/// A layer's attention for one new token of each sequence: q and k are rotated as RopeArgs say, then k and v appended as
/// KvAppendArgs say, then out is what AttentionArgs say of the first `visible` keys, for a query that stands where the
/// new key does; those behind it are hidden. A kernel that has no better way than these three refuses.
/// q [B,1,H,Dh], k and v [B,1,Hkv,Dh], all with stride(3) = 1; positions [B,1] i32 or i64 (any strides), inv_freq [P] f32;
/// k_memory and v_memory [B,S,Hkv,Dh] dense, of the others' dtype; position [] i32, may be absent: begin is what stands
/// there when the kernel runs; key_mask [B,visible]; out [B,1,H,Dh] dense.
struct DecodeAttentionArgs {
  TensorView q, k, v, positions, inv_freq, k_memory, v_memory, position, out;
  float attention_factor = 1;
  std::int64_t begin = 0;
  std::int64_t visible = 0;
  AttentionMask mask;
  float scale = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("q", q);
    visit("k", k);
    visit("v", v);
    visit("positions", positions);
    visit("inv_freq", inv_freq);
    visit("k_memory", k_memory);
    visit("v_memory", v_memory);
    visit("position", position);
    visit("key_mask", mask.key_mask);
    visit("segments", mask.segments);
    visit("out", out);
  }
};

}  // namespace wick

#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "layout/tensor_view.hpp"
#include "runtime/args/random_args.hpp"

namespace wick {

/// out = x wᵀ + bias + scale · (drop(x) aᵀ) bᵀ.
/// x [M,K], w [N,K], bias [N] (may be absent), a [R,K], b [N,R], out [M,N] of x's dtype: dense.
/// xa [M,R] f32, dense, may be absent: receives drop(x) aᵀ for the backward pass.
/// w's dtype is x's, or any floating one when x is f32; a and b share a dtype, f32 or x's; bias has
/// w's dtype. drop() zeroes with probability dropout_p and scales by 1/(1−p), as in DropoutArgs.
struct LoraLinearArgs {
  TensorView x, w, bias, a, b, out, xa;
  float scale = 1;
  double dropout_p = 0;
  RandomKeyArgs key;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("weight", w);
    visit("bias", bias);
    visit("lora_a", a);
    visit("lora_b", b);
    visit("out", out);
    visit("xa", xa);
    visit("offset_base", key.offset_base);
  }
};

/// With g = dy b [M,R]: dx = dy w + scale · drop'(g a), da = scale · gᵀ drop(x), db = scale · dyᵀ xa,
/// dbias = Σ dy over rows. Each gradient has its tensor's shape and dtype and may be absent.
struct LoraLinearBackwardArgs {
  TensorView dy, x, w, a, b, xa, dx, da, db, dbias;
  float scale = 1;
  double dropout_p = 0;
  RandomKeyArgs key;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("x", x);
    visit("weight", w);
    visit("lora_a", a);
    visit("lora_b", b);
    visit("xa", xa);
    visit("dx", dx);
    visit("da", da);
    visit("db", db);
    visit("dbias", dbias);
    visit("offset_base", key.offset_base);
  }
};

inline constexpr std::size_t kMostLoraLinears = 3;

/// At least one lora_linear, all of one x [M,K] and without dropout.
struct LoraLinearsArgs {
  std::array<LoraLinearArgs, kMostLoraLinears> each;
  std::size_t count = 0;

  std::span<const LoraLinearArgs> parts() const { return {each.data(), count}; }
  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    for (const LoraLinearArgs& part : parts()) part.for_each_view(visit);
  }
};

/// Their gradients. dx is the same in each, or absent in each: it is the sum over all.
struct LoraLinearsBackwardArgs {
  std::array<LoraLinearBackwardArgs, kMostLoraLinears> each;
  std::size_t count = 0;

  std::span<const LoraLinearBackwardArgs> parts() const { return {each.data(), count}; }
  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    for (const LoraLinearBackwardArgs& part : parts()) part.for_each_view(visit);
  }
};

/// Two lora_linear of one x, gate and up, without dropout, and h = swiglu(gate.out, up.out) of these results as they were
/// rounded: [M,N] of x's dtype, dense. For backends that make it where gate and up are made; others refuse.
struct LoraSwigluArgs {
  LoraLinearArgs gate, up;
  TensorView h;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    gate.for_each_view(visit);
    up.for_each_view(visit);
    visit("h", h);
  }
};

/// The gradients of the layer that h goes through, whose x is h, without dropout and without dx: in its place what
/// swiglu_backward makes of it, once it is rounded. gate, up, dgate and dup [M,K] of h's dtype, dense. With makes_h, down.x is
/// fresh memory that becomes h. As above for others.
struct LoraSwigluBackwardArgs {
  LoraLinearBackwardArgs down;
  TensorView gate, up, dgate, dup;
  bool makes_h = false;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    down.for_each_view(visit);
    visit("gate", gate);
    visit("up", up);
    visit("dgate", dgate);
    visit("dup", dup);
  }
};

}  // namespace wick

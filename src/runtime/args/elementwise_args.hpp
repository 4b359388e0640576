#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// out = a ∘ b element by element. All three have the shape of out; a broadcast operand has strides of
/// 0. Same dtype (any but bool and u8); out is dense and may be the very same memory as a.
struct BinaryArgs {
  TensorView a, b, out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("a", a);
    visit("b", b);
    visit("out", out);
  }
};

/// out = factor · factor_tensor · x, the factors multiplied in f32. Dense, same shape and floating dtype; out
/// may be x. factor_tensor [] f32, read when the kernel runs, may be absent (1).
struct ScaleArgs {
  TensorView x, out;
  double factor = 1;
  TensorView factor_tensor;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
    visit("factor_tensor", factor_tensor);
  }
};

/// dst = src with conversion of dtype. Same shape, any strides on both sides (dst never overlaps
/// itself or src) and any byte address.
struct CopyArgs {
  TensorView src, dst;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("src", src);
    visit("dst", dst);
  }
};

/// Every element of out (any strides, any dtype) becomes value.
struct FillArgs {
  TensorView out;
  double value = 0;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("out", out);
  }
};

/// out = f(x). Both dense, same shape and floating dtype.
struct UnaryArgs {
  TensorView x, out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
  }
};

/// dx = dy · f'(x). All dense, same shape and floating dtype.
struct UnaryBackwardArgs {
  TensorView dy, x, dx;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("x", x);
    visit("dx", dx);
  }
};

/// As UnaryArgs; `tanh_approximation` selects GPT-2's formula.
struct GeluArgs {
  TensorView x, out;
  bool tanh_approximation = false;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
  }
};

/// As UnaryBackwardArgs.
struct GeluBackwardArgs {
  TensorView dy, x, dx;
  bool tanh_approximation = false;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("x", x);
    visit("dx", dx);
  }
};

/// out = silu(gate) · up. [R,F] each; rows may be apart (stride(0) >= F), stride(1) = 1; out dense.
struct SwigluArgs {
  TensorView gate, up, out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("gate", gate);
    visit("up", up);
    visit("out", out);
  }
};

/// dgate = dy · up · silu'(gate), dup = dy · silu(gate). Layouts as in SwigluArgs; dgate and dup are
/// dense and each may be left out.
struct SwigluBackwardArgs {
  TensorView dy, gate, up, dgate, dup;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("gate", gate);
    visit("up", up);
    visit("dgate", dgate);
    visit("dup", dup);
  }
};

}  // namespace wick

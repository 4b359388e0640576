#pragma once

#include <functional>
#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// What backward() does besides computing gradients.
struct BackwardOptions {
  /// Keeps saved tensors so that the same graph can be differentiated again.
  bool retain_graph = false;
};

/// Computes d loss / d leaf for every leaf that requires a gradient and adds it to the leaf's grad().
///
/// `loss` has one element. Saved tensors are freed as they are used. Throws Error kArgument when the
/// loss does not require a gradient, when its graph was freed by an earlier call, and when a tensor that
/// an op saved was written to since; kShape when the loss has more than one element.
void backward(const Tensor& loss, BackwardOptions options = {});

/// The same for any floating tensor: `cotangent`, of the shape and dtype of `output`, is the gradient that
/// arrives from outside. Throws Error kShape or kDtype when it does not match.
void backward(const Tensor& output, const Tensor& cotangent, BackwardOptions options = {});

/// True when this thread records ops for backward().
bool grad_enabled() noexcept;

/// While it lives, this thread records nothing: results do not require gradients.
class NoGradGuard {
 public:
  NoGradGuard() noexcept;
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  int before_;
};

/// While it lives, this thread's ops do not keep for backward() what one pass over memory makes again from what is kept
/// anyway: the normed input of the layers behind rms_norm() and add_rms_norm(), and the result of swiglu().
///
/// Gradients are the same to the bit; a backward pass takes a few percent longer.
class RecomputeGuard {
 public:
  /// Does nothing where `enabled` is false.
  explicit RecomputeGuard(bool enabled = true) noexcept;
  ~RecomputeGuard();
  RecomputeGuard(const RecomputeGuard&) = delete;
  RecomputeGuard& operator=(const RecomputeGuard&) = delete;

 private:
  bool before_;
};

/// A part of a model as a function of the tensors that flow into it.
using Segment = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

/// Runs `segment` without keeping what its ops would save, and runs it again during backward().
///
/// Memory for the segment falls to its inputs and outputs, at the price of a second forward pass. The
/// segment must compute the same both times: random ops take explicit keys, so they do. Parameters that
/// the function captures receive their gradients as usual.
std::vector<Tensor> checkpoint(const Segment& segment, const std::vector<Tensor>& inputs);

}  // namespace wick

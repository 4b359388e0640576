#include <utility>

#include "autograd/tape.hpp"
#include "wick/autograd/autograd.hpp"

namespace wick {

namespace {

// Runs the segment again on leaves in place of its inputs, differentiates it, and returns the gradients of
// the leaves. Captured parameters collect theirs on the way.
std::vector<Tensor> recompute(const Segment& segment, const detail::BackwardCall& call) {
  const detail::GradModeScope recording(detail::GradMode::kRecord);
  std::vector<Tensor> leaves(call.saved.begin(), call.saved.end());
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    leaves[i] = leaves[i].detach();
    if (call.wanted[i]) leaves[i].set_requires_grad(true);
  }
  const std::vector<Tensor> outputs = segment(leaves);
  std::vector<Tensor> reached;
  std::vector<Tensor> cotangents;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!call.grads[i].defined() || !outputs[i].requires_grad()) continue;
    reached.push_back(outputs[i]);
    cotangents.push_back(call.grads[i]);
  }
  detail::run_tape(reached, cotangents, /*retain_graph=*/false);
  std::vector<Tensor> gradients;
  gradients.reserve(leaves.size());
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return gradients;
}

// An output may be an input or a parameter itself; recording must not change those.
void detach_leaves(std::vector<Tensor>& outputs) {
  for (Tensor& output : outputs) output = output.detach();
}

}  // namespace

std::vector<Tensor> checkpoint(const Segment& segment, const std::vector<Tensor>& inputs) {
  if (detail::grad_mode() == detail::GradMode::kOff) return segment(inputs);
  std::vector<Tensor> outputs;
  bool needed = false;
  {
    const detail::GradModeScope probing(detail::GradMode::kProbe);
    outputs = segment(inputs);
    for (const Tensor& output : outputs) needed = needed || output.requires_grad();
  }
  if (!needed || detail::grad_mode() != detail::GradMode::kRecord) return outputs;
  detach_leaves(outputs);
  detail::record_always(
      "checkpoint", inputs, outputs, inputs,
      [segment](const detail::BackwardCall& call) { return recompute(segment, call); });
  return outputs;
}

}  // namespace wick

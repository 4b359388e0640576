#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>

#include "autograd/tape.hpp"
#include "base/check.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

thread_local detail::GradientHook gradient_hook;

bool is_sole_owner(const Tensor& tensor) {
  return tensor.impl().use_count() == 1 && tensor.impl()->storage.use_count() == 1 &&
         tensor.is_contiguous();
}

// slot += contribution, reusing memory that nobody else can see.
void accumulate(Tensor& slot, Tensor contribution) {
  if (!slot.defined()) {
    slot = std::move(contribution);
    return;
  }
  if (!is_sole_owner(slot)) slot = detail::clone(slot);
  const BinaryArgs args{
      .a = detail::view(slot), .b = detail::view(contribution), .out = detail::view(slot)};
  launch(kernels::add, slot.device(), args);
}

// A leaf's gradient is memory of its own: later backward passes add to it in place, unless somebody holds it.
void accumulate_leaf(AutogradMeta& leaf, Tensor contribution) {
  if (!leaf.grad.defined() && !is_sole_owner(contribution)) {
    contribution = detail::clone(contribution);
  }
  accumulate(leaf.grad, std::move(contribution));
  detail::bump_version(leaf.grad);
}

// Nodes that wait for their gradients, those recorded last first: by then all that depends on a node has
// run.
class Schedule {
 public:
  void add(const AutogradMeta& target, Tensor gradient) {
    Entry& entry = entries_[target.producer->sequence()];
    if (entry.node == nullptr) {
      entry.node = target.producer;
      entry.grads.resize(entry.node->num_outputs());
    }
    accumulate(entry.grads[static_cast<std::size_t>(target.output_index)], std::move(gradient));
  }

  bool empty() const { return entries_.empty(); }

  void run_next(bool retain_graph) {
    const auto handle = entries_.extract(entries_.begin());
    const std::shared_ptr<GradNode> node = handle.mapped().node;
    std::vector<Tensor> grads = node->run(handle.mapped().grads);
    handle.mapped().grads.clear();
    if (!retain_graph) node->release();
    detail::check(grads.size() == node->edges().size(), "a gradient function returned too few");
    for (std::size_t input = 0; input < grads.size(); ++input) {
      const auto& edge = node->edges()[input];
      if (edge == nullptr || !grads[input].defined()) continue;
      if (gradient_hook) grads[input] = gradient_hook(node->op(), input, grads[input]);
      if (edge->producer == nullptr) {
        accumulate_leaf(*edge, std::move(grads[input]));
      } else {
        add(*edge, std::move(grads[input]));
      }
    }
  }

 private:
  struct Entry {
    std::shared_ptr<GradNode> node;
    std::vector<Tensor> grads;
  };
  std::map<std::uint64_t, Entry, std::greater<>> entries_;
};

}  // namespace

namespace detail {

void set_gradient_hook(GradientHook hook) { gradient_hook = std::move(hook); }

void run_tape(std::span<const Tensor> outputs, std::span<const Tensor> cotangents,
              bool retain_graph) {
  const GradModeScope off(GradMode::kOff);
  Schedule schedule;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    AutogradMeta& target = *outputs[i].impl()->meta;
    // Kernels take any strides, but only aligned elements.
    const Tensor& given = cotangents[i];
    Tensor cotangent = detail::is_aligned(given) ? given.detach() : detail::clone(given);
    if (target.producer == nullptr) {
      accumulate_leaf(target, std::move(cotangent));
    } else {
      schedule.add(target, std::move(cotangent));
    }
  }
  while (!schedule.empty()) schedule.run_next(retain_graph);
}

}  // namespace detail

void backward(const Tensor& loss, BackwardOptions options) {
  detail::impl_of("backward", loss);
  if (loss.numel() != 1) {
    throw Error(ErrorKind::kShape, "backward", "the loss must have exactly one element",
                {detail::describe("loss", loss)}, "pass a cotangent for other outputs");
  }
  backward(loss, Tensor::full(loss.shape(), 1, loss.dtype(), loss.device()), options);
}

void backward(const Tensor& output, const Tensor& cotangent, BackwardOptions options) {
  detail::impl_of("backward", output);
  detail::impl_of("backward", cotangent);
  const auto refuse = [&](ErrorKind kind, std::string rule) {
    throw Error(kind, "backward", std::move(rule),
                {detail::describe("output", output), detail::describe("cotangent", cotangent)});
  };
  if (!output.requires_grad()) {
    refuse(ErrorKind::kArgument, "the output does not depend on a tensor that requires a gradient");
  }
  if (cotangent.shape() != output.shape()) {
    refuse(ErrorKind::kShape, "the cotangent must have the shape of the output");
  }
  if (cotangent.dtype() != output.dtype()) {
    refuse(ErrorKind::kDtype, "the cotangent must have the dtype of the output");
  }
  if (cotangent.device() != output.device()) {
    refuse(ErrorKind::kDevice, "the cotangent must be on the device of the output");
  }
  detail::run_tape(std::span(&output, 1), std::span(&cotangent, 1), options.retain_graph);
}

}  // namespace wick

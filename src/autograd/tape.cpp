#include "autograd/tape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

thread_local detail::GradMode current_mode = detail::GradMode::kRecord;

}  // namespace

GradNode::GradNode(std::string_view op, std::span<const Tensor> inputs, std::size_t num_outputs,
                   std::span<const Tensor> saved, detail::BackwardFunction backward)
    : op_(op),
      num_outputs_(num_outputs),
      sequence_(next_sequence()),
      backward_(std::move(backward)) {
  for (const Tensor& input : inputs) {
    const bool wanted = input.defined() && input.requires_grad();
    edges_.push_back(wanted ? input.impl()->meta : nullptr);
  }
  for (const Tensor& tensor : saved) saved_.emplace_back(tensor);
}

// A long chain of nodes is taken apart in a loop: nested destructors would overflow the stack.
GradNode::~GradNode() {
  std::vector<std::shared_ptr<GradNode>> doomed;
  const auto take_producers = [&](GradNode& node) {
    // One by one, since an op may have used a tensor twice: the last edge to it is its only owner.
    for (auto& slot : node.edges_) {
      const std::shared_ptr<AutogradMeta> edge = std::move(slot);
      if (edge != nullptr && edge.use_count() == 1 && edge->producer != nullptr) {
        doomed.push_back(std::move(edge->producer));
      }
    }
    node.edges_.clear();
  };
  take_producers(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<GradNode> node = std::move(doomed.back());
    doomed.pop_back();
    if (node.use_count() == 1) take_producers(*node);
  }
}

std::vector<Tensor> GradNode::unpack() const {
  if (released_) {
    throw Error(ErrorKind::kArgument, "backward",
                fmt::format("the graph of this {} was freed by an earlier backward()", op_), {},
                "retain_graph keeps it");
  }
  std::vector<Tensor> tensors;
  tensors.reserve(saved_.size());
  for (const detail::SavedTensor& saved : saved_) tensors.push_back(saved.unpack(op_));
  return tensors;
}

std::vector<Tensor> GradNode::run(std::span<const Tensor> grads) const {
  const std::vector<Tensor> saved = unpack();
  std::vector<bool> wanted;
  wanted.reserve(edges_.size());
  for (const auto& edge : edges_) wanted.push_back(edge != nullptr);
  return backward_({.saved = saved, .grads = grads, .wanted = wanted});
}

void GradNode::release() {
  saved_.clear();
  backward_ = nullptr;
  released_ = true;
}

namespace detail {

GradMode grad_mode() noexcept { return current_mode; }

GradModeScope::GradModeScope(GradMode mode) noexcept : before_(std::exchange(current_mode, mode)) {}

GradModeScope::~GradModeScope() { current_mode = before_; }

namespace {

bool any_requires_grad(std::span<const Tensor> inputs) {
  return std::ranges::any_of(
      inputs, [](const Tensor& input) { return input.defined() && input.requires_grad(); });
}

}  // namespace

bool needs_gradient(std::span<const Tensor> inputs) {
  return current_mode == GradMode::kRecord && any_requires_grad(inputs);
}

void record(std::string_view op, std::span<const Tensor> inputs, std::span<const Tensor> outputs,
            std::span<const Tensor> saved, BackwardFunction backward) {
  if (current_mode == GradMode::kProbe && any_requires_grad(inputs)) {
    for (const Tensor& output : outputs) {
      if (is_floating(output.dtype())) output.set_requires_grad(true);
    }
  }
  if (!needs_gradient(inputs)) return;
  record_always(op, inputs, outputs, saved, std::move(backward));
}

void record_always(std::string_view op, std::span<const Tensor> inputs,
                   std::span<const Tensor> outputs, std::span<const Tensor> saved,
                   BackwardFunction backward) {
  const auto node =
      std::make_shared<GradNode>(op, inputs, outputs.size(), saved, std::move(backward));
  int index = 0;
  for (const Tensor& output : outputs) {
    const int own_index = index++;
    if (!is_floating(output.dtype())) continue;
    output.impl()->meta = std::make_shared<AutogradMeta>(AutogradMeta{
        .requires_grad = true, .grad = {}, .producer = node, .output_index = own_index});
  }
}

Tensor record(std::string_view op, std::initializer_list<Tensor> inputs, const Tensor& output,
              std::initializer_list<Tensor> saved, BackwardFunction backward) {
  record(op, std::span<const Tensor>(inputs.begin(), inputs.size()), std::span(&output, 1),
         std::span<const Tensor>(saved.begin(), saved.size()), std::move(backward));
  return output;
}

void forbid_gradient(std::string_view op, std::initializer_list<Tensor> inputs) {
  if (current_mode == GradMode::kOff) return;
  for (const Tensor& input : inputs) {
    if (!input.requires_grad()) continue;
    throw Error(ErrorKind::kUnsupported, std::string(op),
                "the op has no gradient, and this input requires one", {describe("input", input)},
                "pass input.detach() if no gradient shall flow here");
  }
}

}  // namespace detail

bool grad_enabled() noexcept { return current_mode == detail::GradMode::kRecord; }

NoGradGuard::NoGradGuard() noexcept
    : before_(static_cast<int>(std::exchange(current_mode, detail::GradMode::kOff))) {}

NoGradGuard::~NoGradGuard() { current_mode = static_cast<detail::GradMode>(before_); }

}  // namespace wick

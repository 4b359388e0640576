#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "autograd/recipe.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

namespace detail {

/// What the gradient of an op is given.
struct BackwardCall {
  std::span<const Tensor> saved;    ///< as they were recorded
  std::span<const Tensor> grads;    ///< one per output; undefined where nothing depends on it
  const std::vector<bool>& wanted;  ///< one per input: whether its gradient is needed

  /// The gradient of the only output.
  const Tensor& dy() const { return grads.front(); }
};

/// Returns one gradient per input, of its shape and dtype; undefined where it is not wanted.
using BackwardFunction = std::function<std::vector<Tensor>(const BackwardCall&)>;

/// True when an op on `inputs` must be recorded: ask before saving what only the gradient needs.
bool needs_gradient(std::span<const Tensor> inputs);
inline bool needs_gradient(std::initializer_list<Tensor> inputs) {
  return needs_gradient(std::span<const Tensor>(inputs.begin(), inputs.size()));
}

/// Puts an op on the tape when needs_gradient(inputs): its floating outputs then require a gradient. `saved` are
/// remembered with their versions and handed to `backward`, which should capture nothing but plain values.
void record(std::string_view op, std::span<const Tensor> inputs, std::span<const Tensor> outputs,
            std::span<const Tensor> saved, BackwardFunction backward);

/// As record(), even when no input requires a gradient: something the op captured does.
void record_always(std::string_view op, std::span<const Tensor> inputs,
                   std::span<const Tensor> outputs, std::span<const Tensor> saved,
                   BackwardFunction backward);

/// The usual case of one output, which it returns.
Tensor record(std::string_view op, std::initializer_list<Tensor> inputs, const Tensor& output,
              std::initializer_list<Tensor> saved, BackwardFunction backward);

/// Throws Error kUnsupported when an op without a gradient meets an input that requires one.
void forbid_gradient(std::string_view op, std::initializer_list<Tensor> inputs);

/// Sees every gradient an op has computed, and returns what is to be used instead (usually the same).
using GradientHook =
    std::function<Tensor(std::string_view op, std::size_t input, const Tensor& gradient)>;

/// Sets this thread's hook; an empty one removes it.
void set_gradient_hook(GradientHook hook);

}  // namespace detail

/// One recorded op.
class GradNode {
 public:
  GradNode(std::string_view op, std::span<const Tensor> inputs, std::size_t num_outputs,
           std::span<const Tensor> saved, detail::BackwardFunction backward);
  ~GradNode();
  GradNode(const GradNode&) = delete;
  GradNode& operator=(const GradNode&) = delete;

  std::string_view op() const noexcept { return op_; }
  std::size_t num_outputs() const noexcept { return num_outputs_; }
  /// Higher than that of every node this one depends on.
  std::uint64_t sequence() const noexcept { return sequence_; }
  /// Where the gradient of each input goes; null for one that does not require any.
  const std::vector<std::shared_ptr<AutogradMeta>>& edges() const noexcept { return edges_; }

  /// The gradients of the inputs. Throws Error kArgument when a saved tensor is stale or the node was
  /// released.
  std::vector<Tensor> run(std::span<const Tensor> grads) const;
  /// Frees everything but the identity.
  void release();

 private:
  std::vector<Tensor> unpack() const;

  std::string_view op_;
  std::size_t num_outputs_;
  std::uint64_t sequence_;
  std::vector<std::shared_ptr<AutogradMeta>> edges_;
  std::vector<detail::SavedTensor> saved_;
  detail::BackwardFunction backward_;
  bool released_ = false;
};

namespace detail {

/// Runs the tape from `outputs` (non-leaf) with one cotangent each.
void run_tape(std::span<const Tensor> outputs, std::span<const Tensor> cotangents,
              bool retain_graph);

/// What ops of this thread leave on the tape.
enum class GradMode : int {
  kRecord,  ///< what requires a gradient
  kOff,     ///< nothing
  kProbe,   ///< nothing, but results tell whether they would require a gradient
};

/// Sets the mode while it lives.
class GradModeScope {
 public:
  explicit GradModeScope(GradMode mode) noexcept;
  ~GradModeScope();
  GradModeScope(const GradModeScope&) = delete;
  GradModeScope& operator=(const GradModeScope&) = delete;

 private:
  GradMode before_;
};

GradMode grad_mode() noexcept;

}  // namespace detail

}  // namespace wick

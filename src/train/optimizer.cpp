#include "wick/train/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "train/micro_batch_passes.hpp"
#include "train/ranks.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/optimizer.hpp"

namespace wick {

namespace {

[[noreturn]] void fail(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kArgument, "train_step", rule, {}, std::move(hint));
}

// What clip_grad_norm_() adds to the norm before it divides.
constexpr double kClipEpsilon = 1e-6;

// Weight decay pulls towards zero, which is not where a norm's weight or a bias belongs.
bool is_decayed(const std::string& name) {
  return !name.ends_with(".bias") && name.find("norm") == std::string::npos &&
         name.find("LayerNorm") == std::string::npos;
}

bool is_finite(const Tensor& tensor) {
  constexpr double kMeasure = std::numeric_limits<double>::infinity();
  const std::vector<Tensor> one{cast(tensor.detach(), DType::kF32)};
  return std::isfinite(clip_grad_norm_(one, kMeasure).item<float>());
}

// Different for every micro-batch of every step.
std::int64_t random_of(std::int64_t step, std::size_t micro_batch) {
  std::uint64_t mixed = 0x9E3779B97F4A7C15u * (static_cast<std::uint64_t>(step) + 1);
  mixed ^= 0xD1B54A32D192ED03u * (micro_batch + 1);
  mixed ^= mixed >> 31;
  return static_cast<std::int64_t>(mixed * 0xBF58476D1CE4E5B9u);
}

// Parameters have no gradient before a step and none after it, however it ends.
class GradientsOfOneStep {
 public:
  explicit GradientsOfOneStep(const NamedTensors& parameters) : parameters_(parameters) { clear(); }
  ~GradientsOfOneStep() { clear(); }
  GradientsOfOneStep(const GradientsOfOneStep&) = delete;
  GradientsOfOneStep& operator=(const GradientsOfOneStep&) = delete;

 private:
  void clear() const {
    for (const auto& [name, tensor] : parameters_) tensor.set_grad(Tensor());
  }
  const NamedTensors& parameters_;
};

}  // namespace

Optimizer::Optimizer(const CausalLm& model, NamedTensors parameters, OptimizerOptions options,
                     ComputeOptions compute, std::shared_ptr<Communicator> ranks)
    : model_(model),
      parameters_(std::move(parameters)),
      options_(options),
      compute_(compute),
      ranks_(std::move(ranks)),
      passes_(std::make_unique<detail::MicroBatchPasses>(model, parameters_)) {
  if (parameters_.empty()) fail("there is nothing to train");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    if (!tensor.requires_grad()) fail("parameter " + name + " does not require a gradient");
    m_.push_back(Tensor::zeros(tensor.shape(), DType::kF32, tensor.device()));
    v_.push_back(Tensor::zeros(tensor.shape(), DType::kF32, tensor.device()));
    (is_decayed(name) ? decayed_ : plain_).push_back(i);
  }
}

Optimizer::~Optimizer() = default;
Optimizer::Optimizer(Optimizer&& other) noexcept = default;

void Optimizer::forget_recordings() { passes_->forget(); }

double loss_sum(const CausalLm& model, const MicroBatch& batch, std::int64_t loss_chunk_rows) {
  const NoGradGuard no_gradient;
  const detail::PassInputs inputs(batch, model.device());
  inputs.write(batch, {});
  const ComputeOptions compute{.loss_chunk_rows = loss_chunk_rows};
  return static_cast<double>(detail::batch_loss(model, inputs, {}, compute).item<float>());
}

std::optional<StepReport> Optimizer::step(std::span<const MicroBatch> batches, double learning_rate,
                                          std::uint64_t seed, const std::function<bool()>& stop) {
  StepReport report{.step = steps_ + 1, .learning_rate = learning_rate};
  for (const MicroBatch& batch : batches) {
    report.num_targets += batch.num_targets;
    report.num_tokens += batch.num_tokens;
  }
  if (report.num_targets == 0) {
    fail("step " + std::to_string(report.step) + ": no token of its samples is a target");
  }
  const GradientsOfOneStep gradients(parameters_);
  detail::RankSums sums;
  sums.loss = accumulate_within_memory(batches, report, seed, stop, sums.is_stopped);
  // All ranks stop at the same step, or none.
  if (ranks_) detail::all_reduce(*ranks_, sums);
  if (sums.is_stopped) return std::nullopt;
  if (ranks_) detail::all_reduce_gradients(*ranks_, parameters_);
  report.loss = sums.loss;
  if (divides_late()) scale_gradients(1 / static_cast<double>(report.num_targets));
  update(report);
  return report;
}

// The gradient of the mean is small where many tokens count, and f16 has no small numbers: its activations get that of the
// sum, and the f32 gradients of the parameters are divided.
bool Optimizer::divides_late() const { return model_.compute_dtype() == DType::kF16; }

// Nothing has been changed while gradients are computed, and no rank waits for another: a rank that found no memory may
// begin again: without what recordings keep for themselves, then in a cheaper way.
double Optimizer::accumulate_within_memory(std::span<const MicroBatch> batches,
                                           const StepReport& report, std::uint64_t seed,
                                           const std::function<bool()>& stop, bool& is_stopped) {
  while (true) {
    try {
      return accumulate(batches, report, seed, stop, is_stopped);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kOutOfMemory) throw;
      const bool had_recordings = passes_->stop_recording();
      if (!had_recordings && !on_out_of_memory_) throw;
      for (const auto& [name, tensor] : parameters_) tensor.set_grad(Tensor());
      if (had_recordings) continue;
      const std::optional<ComputeOptions> cheaper = on_out_of_memory_(error);
      if (!cheaper) throw;
      compute_ = *cheaper;
    }
  }
}

// Forward and backward of the micro-batches that are this rank's; what they add to the mean loss.
double Optimizer::accumulate(std::span<const MicroBatch> batches, const StepReport& report,
                             std::uint64_t seed, const std::function<bool()>& stop,
                             bool& is_stopped) const {
  const double share = 1 / static_cast<double>(report.num_targets);
  double mean = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (!detail::is_own(ranks_.get(), static_cast<std::int64_t>(i))) continue;
    is_stopped = stop && stop();
    if (is_stopped) break;
    if (batches[i].num_targets == 0) continue;
    const detail::PassNumbers numbers{.seed = seed,
                                      .random = random_of(report.step, i),
                                      .loss_scale = divides_late() ? 1 : static_cast<float>(share)};
    const Tensor loss = passes_->run(batches[i], numbers, compute_);
    mean += static_cast<double>(loss.item<float>()) * (divides_late() ? share : 1);
  }
  return mean;
}

void Optimizer::scale_gradients(double factor) const {
  const NoGradGuard no_gradient;
  for (const auto& [name, tensor] : parameters_) {
    if (tensor.grad().defined()) tensor.set_grad(scale(tensor.grad(), factor));
  }
}

void Optimizer::update(StepReport& report) {
  std::vector<Tensor> gradients;
  for (const auto& [name, tensor] : parameters_) {
    if (!tensor.grad().defined()) {
      fail("step " + std::to_string(report.step) + ": " + name +
               " received no gradient; nothing was updated",
           "it takes no part in the loss: is its adapter active?");
    }
    gradients.push_back(tensor.grad());
  }
  // Measured first and clipped then: a gradient that is not finite must still be there to be named.
  constexpr double kMeasure = std::numeric_limits<double>::infinity();
  report.grad_norm = static_cast<double>(clip_grad_norm_(gradients, kMeasure).item<float>());
  check_finite(report);
  const double limit = options_.max_grad_norm;
  if (limit > 0 && limit < report.grad_norm + kClipEpsilon) clip_grad_norm_(gradients, limit);
  const auto take = [&](const std::vector<std::size_t>& group, double weight_decay) {
    std::vector<AdamwParameter> state;
    state.reserve(group.size());
    for (const std::size_t i : group) state.push_back({parameters_[i].second, m_[i], v_[i]});
    if (state.empty()) return;
    adamw_(state, report.step,
           {.lr = report.learning_rate,
            .beta1 = options_.adam_beta1,
            .beta2 = options_.adam_beta2,
            .eps = options_.adam_epsilon,
            .weight_decay = weight_decay});
  };
  take(decayed_, options_.weight_decay);
  take(plain_, 0);
  steps_ = report.step;
}

// Names what is broken: the cause before the consequence.
void Optimizer::check_finite(const StepReport& report) const {
  if (std::isfinite(report.loss) && std::isfinite(report.grad_norm)) return;
  std::string what = "the gradient norm overflows";
  if (!std::isfinite(report.loss)) what = "the loss is " + std::to_string(report.loss);
  for (const auto& [name, tensor] : parameters_) {
    if (!is_finite(tensor.grad())) {
      what = "the gradient of " + name + " is not finite";
      break;
    }
  }
  for (const NamedTensors* tensors : {&model_.parameters(), &parameters_}) {
    for (const auto& [name, tensor] : *tensors) {
      if (is_finite(tensor)) continue;
      what = "tensor " + name + " holds NaN or infinity";
      break;
    }
  }
  std::string hint = "lower the learning rate or look at the data of this step";
  if (model_.compute_dtype() == DType::kF16) hint += ", or compute in bf16: f16 ends at 65504";
  fail("step " + std::to_string(report.step) + ": " + what + "; nothing was updated", hint);
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    state.emplace_back("m." + parameters_[i].first, m_[i]);
    state.emplace_back("v." + parameters_[i].first, v_[i]);
  }
  return state;
}

void Optimizer::set_state(const NamedTensors& state, std::int64_t steps) {
  const std::map<std::string, Tensor> stored(state.begin(), state.end());
  const NamedTensors targets = this->state();
  for (const auto& [name, target] : targets) {
    const auto found = stored.find(name);
    if (found == stored.end()) fail("the optimizer state lacks " + name);
    if (!(found->second.shape() == target.shape()) || found->second.dtype() != DType::kF32) {
      throw Error(ErrorKind::kShape, "train_step",
                  "the optimizer state's " + name + " must be f32 " + to_string(target.shape()) +
                      ", got " + std::string(to_string(found->second.dtype())) + " " +
                      to_string(found->second.shape()));
    }
  }
  if (stored.size() != 2 * parameters_.size()) {
    fail("the optimizer state has tensors of parameters that are not trained");
  }
  for (const auto& [name, target] : targets) copy_(target, stored.at(name).to(target.device()));
  steps_ = steps;
}

}  // namespace wick

#include "train/micro_batch_passes.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::detail {

namespace {

// Whether a row holds a second sample. The first begins its row, so that causal attention alone keeps it from the padding
// behind it, whose results nothing asks for.
bool rows_are_shared(const MicroBatch& batch) {
  return std::ranges::any_of(batch.segments, [](std::int32_t segment) { return segment > 0; });
}

std::vector<const void*> memory_of(const std::vector<Tensor>& tensors) {
  std::vector<const void*> memory;
  memory.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    memory.push_back(tensor.defined() ? view(tensor).data : nullptr);
  }
  return memory;
}

}  // namespace

PassInputs::PassInputs(const MicroBatch& batch, Device device)
    : batch_size_(batch.batch_size),
      length_(batch.length),
      has_neighbours_(rows_are_shared(batch)),
      planes_(Tensor::empty({4, batch_size_, length_}, DType::kI32, device)),
      random_(Tensor::empty({}, DType::kI64, device)),
      loss_scale_(Tensor::empty({}, DType::kF32, device)) {}

bool PassInputs::hold(const MicroBatch& batch) const {
  return batch_size_ == batch.batch_size && length_ == batch.length &&
         has_neighbours_ == rows_are_shared(batch);
}

void PassInputs::write(const MicroBatch& batch, const PassNumbers& numbers) const {
  std::vector<std::int32_t> values;
  values.reserve(static_cast<std::size_t>(planes_.numel()));
  for (const auto* plane : {&batch.ids, &batch.positions, &batch.targets, &batch.segments}) {
    values.insert(values.end(), plane->begin(), plane->end());
  }
  const Device device = planes_.device();
  copy_(planes_, Tensor::from_values(values, planes_.shape(), device));
  copy_(random_, Tensor::from_values(std::vector{numbers.random}, {}, device));
  copy_(loss_scale_, Tensor::from_values(std::vector{numbers.loss_scale}, {}, device));
}

Tensor PassInputs::plane(std::int64_t index) const {
  return reshape(slice(planes_, 0, index, index + 1), {batch_size_, length_});
}

Tensor batch_loss(const CausalLm& model, const PassInputs& inputs, const PassContext& context,
                  const ComputeOptions& compute) {
  const CausalPass pass{.positions = inputs.positions(),
                        .segments = inputs.segments(),
                        .context = context,
                        .checkpointed_layers = compute.checkpointed_layers,
                        .selective_checkpointing = compute.selective_checkpointing};
  return model.loss(model.hidden(inputs.ids(), pass), inputs.targets(),
                    {.reduction = LossReduction::kSum}, compute.loss_chunk_rows, context);
}

Tensor MicroBatchPasses::run(const MicroBatch& batch, const PassNumbers& numbers,
                             const ComputeOptions& compute) {
  prepare(batch);
  inputs_->write(batch, numbers);
  Recording& pass = has_gradients() ? later_ : first_;
  if (pass.graph != nullptr) return repeat(pass);
  if (may_record(pass) && record(pass, numbers.seed, compute)) return repeat(pass);
  pass.has_run = true;
  return this->compute(numbers.seed, compute);
}

void MicroBatchPasses::prepare(const MicroBatch& batch) {
  std::uint64_t version = 0;
  for (const auto& linear : model_.linears()) version += linear->version();
  const bool are_trained = std::ranges::all_of(
      parameters_, [](const auto& each) { return each.second.requires_grad(); });
  if (inputs_ != nullptr && inputs_->hold(batch) && model_version_ == version && are_trained)
    return;
  forget();
  inputs_ = std::make_unique<PassInputs>(batch, model_.device());
  model_version_ = version;
}

void MicroBatchPasses::forget() {
  later_ = {};
  first_ = {};
  gradients_.clear();
  inputs_.reset();
}

bool MicroBatchPasses::stop_recording() {
  const bool had_one = first_.graph != nullptr;
  forget();
  is_refused_ = is_refused_ || had_one;
  return had_one;
}

bool MicroBatchPasses::has_gradients() const {
  return std::ranges::any_of(parameters_,
                             [](const auto& each) { return each.second.grad().defined(); });
}

// The first run of a pass makes what a device makes at the first use of a kernel. What adds to gradients is recorded where
// a recording has made those.
bool MicroBatchPasses::may_record(const Recording& pass) const {
  return !is_refused_ && pass.has_run && (&pass == &first_ || first_.graph != nullptr) &&
         current_stream(model_.device()).supports_capture();
}

// False where the pass needs the host meanwhile, or more memory than there is: from then on nothing is recorded.
bool MicroBatchPasses::record(Recording& pass, std::uint64_t seed, const ComputeOptions& compute) {
  Stream& stream = current_stream(model_.device());
  const bool makes_gradients = &pass == &first_;
  const std::vector<const void*> before = memory_of(gradients_);
  gradients_.clear();  // they grow in place where nobody else holds them
  stream.begin_capture(first_.graph.get());
  try {
    pass.loss = this->compute(seed, compute);
    pass.graph = stream.end_capture();
  } catch (const Error& error) {
    try {
      stream.end_capture();
    } catch (const Error&) {  // the first failure is the one to hear of
    }
    is_refused_ = true;
    const bool is_expected =
        error.kind() == ErrorKind::kUnsupported || error.kind() == ErrorKind::kOutOfMemory;
    if (!makes_gradients || !is_expected) throw;
    for (const auto& [name, tensor] : parameters_) tensor.set_grad(Tensor());
    return false;
  }
  for (const auto& [name, tensor] : parameters_) gradients_.push_back(tensor.grad());
  check(makes_gradients || memory_of(gradients_) == before,
        "a recorded gradient must grow in place");
  return true;
}

Tensor MicroBatchPasses::repeat(const Recording& pass) const {
  current_stream(model_.device()).replay(*pass.graph);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].second.set_grad(gradients_[i]);
  }
  return pass.loss;
}

Tensor MicroBatchPasses::compute(std::uint64_t seed, const ComputeOptions& compute) const {
  const PassContext context{.training = true, .seed = seed, .random = inputs_->random()};
  const Tensor loss = mul(batch_loss(model_, *inputs_, context, compute), inputs_->loss_scale());
  // Without any trained tensor in it there is nothing to run back; the optimizer names the first.
  if (loss.requires_grad()) backward(loss);
  return loss.detach();
}

}  // namespace wick::detail

#include "ops/losses.hpp"

#include <algorithm>

#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"

namespace wick::detail {

void check_loss(const Check& check, std::int64_t N, const Tensor& targets,
                const CrossEntropyOptions& options) {
  check.index("targets", targets);
  check.shape("targets", targets, {N}, "to match the rows");
  check.that(options.label_smoothing >= 0 && options.label_smoothing < 1, ErrorKind::kArgument,
             "label_smoothing must be in [0, 1), got {}", options.label_smoothing);
  if (!options.token_weights.defined()) return;
  check.that(options.token_weights.dtype() == DType::kF32, ErrorKind::kDtype,
             "token_weights must be f32");
  check.shape("token_weights", options.token_weights, {N}, "to match the rows");
}

// Enough rows for a product to run at full speed, few enough that the logits stay small.
std::int64_t default_chunk_rows(std::int64_t V, Device device) {
  constexpr std::int64_t kMebi = std::int64_t{1} << 20;
  constexpr std::int64_t kFewest = 16;
  const bool is_gpu = device.type == DeviceType::kCuda || device.type == DeviceType::kMps;
  const std::int64_t bytes = (is_gpu ? 256 : 32) * kMebi;
  return std::max(kFewest, bytes / (static_cast<std::int64_t>(size_of(DType::kF32)) * V));
}

LossSums::LossSums(Device device)
    : loss_sum(Tensor::empty({}, DType::kF32, device)),
      weight_sum(Tensor::empty({}, DType::kF32, device)),
      inv_weight(Tensor::empty({}, DType::kF32, device)) {}

Tensor LossSums::reduced(LossReduction reduction) const {
  if (reduction == LossReduction::kSum) return loss_sum;
  Tensor loss = Tensor::empty({}, DType::kF32, loss_sum.device());
  launch(kernels::mul, loss.device(),
         BinaryArgs{.a = view(loss_sum), .b = view(inv_weight), .out = view(loss)});
  return loss;
}

Tensor LossSums::factor(LossReduction reduction) const {
  return reduction == LossReduction::kSum ? Tensor() : inv_weight;
}

LossConstants::LossConstants(const CrossEntropyOptions& options)
    : ignore_index(options.ignore_index),
      label_smoothing(static_cast<float>(options.label_smoothing)) {}

void launch_cross_entropy(const LossRows& rows, const LossSums& sums,
                          const LossConstants& constants, std::int64_t first_row) {
  launch(kernels::cross_entropy, rows.logits.device(),
         CrossEntropyArgs{.logits = view(rows.logits),
                          .targets = view(rows.targets),
                          .weights = view(rows.weights),
                          .lse = view(rows.lse),
                          .loss_sum = view(sums.loss_sum),
                          .weight_sum = view(sums.weight_sum),
                          .inv_weight = view(sums.inv_weight),
                          .dlogits = view(rows.dlogits),
                          .ignore_index = constants.ignore_index,
                          .label_smoothing = constants.label_smoothing,
                          .accumulate = first_row > 0,
                          .first_row = first_row});
}

}  // namespace wick::detail

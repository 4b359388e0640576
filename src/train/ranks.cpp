#include "train/ranks.hpp"

#include <fmt/format.h>

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "tensor/tensor_impl.hpp"
#include "train/digest.hpp"
#include "train/run_settings.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::detail {

namespace {

// Large enough that a call costs nothing beside its bytes, small beside the gradients of a whole model.
constexpr std::int64_t kBucketElements = std::int64_t{8} << 20;

float* address_of(const Tensor& dense) { return static_cast<float*>(view(dense).data); }

// One call for all tensors of a bucket.
void reduce_bucket(Communicator& ranks, const std::vector<Tensor>& gradients) {
  if (gradients.empty()) return;
  std::vector<Tensor> flat;
  flat.reserve(gradients.size());
  for (const Tensor& gradient : gradients) flat.push_back(reshape(gradient, {gradient.numel()}));
  const Tensor joined = dense(concatenate(flat, 0));
  ranks.all_reduce_sum(address_of(joined), joined.numel());
  std::int64_t begin = 0;
  for (const Tensor& gradient : gradients) {
    const std::int64_t end = begin + gradient.numel();
    copy_(gradient, reshape(slice(joined, 0, begin, end), gradient.shape()));
    begin = end;
  }
}

// Which parameters have a gradient on any rank.
std::vector<double> presence(Communicator& ranks, const NamedTensors& parameters) {
  std::vector<double> present;
  present.reserve(parameters.size());
  for (const auto& [name, tensor] : parameters) present.push_back(tensor.grad().defined() ? 1 : 0);
  ranks.all_reduce_sum(present);
  return present;
}

std::string tensor_digest(const Tensor& tensor) {
  const std::vector<float> values = cast(tensor.detach(), DType::kF32).to_vector<float>();
  return fmt::format("{:016x}", digest(std::as_bytes(std::span(values))));
}

}  // namespace

void all_reduce(Communicator& ranks, RankSums& sums) {
  std::array<double, 3> values{sums.loss, sums.targets, sums.is_stopped ? 1.0 : 0.0};
  ranks.all_reduce_sum(values);
  sums = {.loss = values[0], .targets = values[1], .is_stopped = values[2] > 0};
}

void all_reduce_gradients(Communicator& ranks, const NamedTensors& parameters) {
  const NoGradGuard no_gradient;
  const std::vector<double> present = presence(ranks, parameters);
  std::vector<Tensor> bucket;
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& tensor = parameters[i].second;
    if (present[i] == 0) continue;
    if (!tensor.grad().defined()) {
      tensor.set_grad(Tensor::zeros(tensor.shape(), DType::kF32, tensor.device()));
    }
    if (elements > 0 && elements + tensor.numel() > kBucketElements) {
      reduce_bucket(ranks, bucket);
      bucket.clear();
      elements = 0;
    }
    bucket.push_back(tensor.grad().detach());
    elements += tensor.numel();
  }
  reduce_bucket(ranks, bucket);
}

void check_equal(Communicator& ranks, const Json& settings, const NamedTensors& tensors) {
  const NoGradGuard no_gradient;
  Json own{{"settings", settings}, {"tensors", Json::array()}};
  for (const auto& [name, tensor] : tensors) own["tensors"].push_back(tensor_digest(tensor));
  const Json first = parse_json(ranks.broadcast(own.dump()), "rank 0");
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::kArgument, "ranks",
                fmt::format("rank {} does not train what rank 0 trains: {}", ranks.rank(), what));
  };
  const std::string changes = changed_settings(first["settings"], settings);
  if (!changes.empty()) refuse(changes);
  if (first["tensors"].size() != tensors.size()) refuse("the number of tensors differs");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (first["tensors"][i] != own["tensors"][i]) refuse(tensors[i].first + " differs");
  }
}

}  // namespace wick::detail

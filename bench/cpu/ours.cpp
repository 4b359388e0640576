// The cases by Wick's ops.

#include <fmt/format.h>

#include "case.hpp"
#include "wick/wick.hpp"

namespace wick::bench {

namespace {

Tensor tensor(const Case& which, const Shape& shape, Seed seed, float scale) {
  const Tensor values = Tensor::from_values(input(shape.numel(), seed, scale, which.dtype), shape);
  return cast(values, which.dtype == "bf16" ? DType::kBF16 : DType::kF32);
}

Matrix matrix(const Tensor& result) {
  return {result.dim(0), result.dim(1), cast(result, DType::kF32).to_vector<float>()};
}

Work forward_work(const std::function<Tensor()>& op) {
  return {[op] {
            const NoGradGuard no_gradient;
            static_cast<void>(op());
          },
          [op] {
            const NoGradGuard no_gradient;
            return std::vector<Matrix>{matrix(op())};
          }};
}

struct Lora {
  explicit Lora(const Case& which)
      : x(tensor(which, {which.size(0), which.size(1)}, kX, 1)),
        w(tensor(which, {which.size(2), which.size(1)}, kW, kWeightScale)),
        a(tensor(which, {which.size(3), which.size(1)}, kA, kWeightScale)),
        b(tensor(which, {which.size(2), which.size(3)}, kB, kWeightScale)) {}

  Tensor linear() const { return lora_linear(x, w, {}, a, b, {.scale = kLoraScale}); }
  Tensor delta() const {
    const Tensor h = matmul(x, a, {.transpose_b = true});
    return matmul(h, b, {.transpose_b = true, .alpha = kLoraScale});
  }

  Tensor x, w, a, b;
};

Work gradient_work(const Case& which) {
  const Lora lora(which);
  const Tensor dy = tensor(which, {which.size(0), which.size(2)}, kDy, 1);
  const std::vector<Tensor> leaves{lora.x, lora.a, lora.b};
  for (const Tensor& leaf : leaves) leaf.set_requires_grad(true);
  const auto clear = [leaves] {
    for (const Tensor& leaf : leaves) leaf.set_grad({});
  };
  return {[lora, dy, clear] {
            backward(lora.linear(), dy);
            clear();
          },
          [lora, dy, leaves, clear] {
            const Tensor y = lora.linear();
            backward(y, dy);
            std::vector<Matrix> results{matrix(y.detach())};
            for (const Tensor& leaf : leaves) results.push_back(matrix(leaf.grad()));
            clear();
            return results;
          }};
}

class Ours : public Engine {
 public:
  std::string version() const override {
    std::string forced;
    for (const char* const kernel : {"matmul", "isa"}) {
      if (!forced_variant(kernel).empty())
        forced += fmt::format(", {}={}", kernel, forced_variant(kernel));
    }
    return fmt::format("{} threads{}", num_threads(), forced);
  }

  std::optional<Work> prepare(const Case& which) override {
    if (which.op == "lora_grad") return gradient_work(which);
    if (which.op == "train" || which.op == "decode") return prepare_model(which);
    if (which.op == "lora_linear") {
      return forward_work([lora = Lora(which)] { return lora.linear(); });
    }
    if (which.op == "lora_delta") {
      return forward_work([lora = Lora(which)] { return lora.delta(); });
    }
    const bool is_softmax = which.op == "softmax";
    const Tensor x =
        tensor(which, {which.size(0), which.size(1)}, kX, is_softmax ? kLogitScale : 1);
    if (is_softmax) {
      return forward_work([x] { return softmax(x); });
    }
    if (which.op == "rms_norm") {
      const Tensor gain = tensor(which, {which.size(1)}, kGain, 1);
      return forward_work([x, gain] { return rms_norm(x, gain, {.eps = kNormEps}); });
    }
    if (which.op != "matmul") return std::nullopt;
    const Tensor w = tensor(which, {which.size(2), which.size(1)}, kW, kWeightScale);
    return forward_work([x, w] { return matmul(x, w, {.transpose_b = true}); });
  }
};

}  // namespace

std::unique_ptr<Engine> make_ours() { return std::make_unique<Ours>(); }

}  // namespace wick::bench

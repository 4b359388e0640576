// The smallest LoRA run: a frozen feed-forward block is shifted by a secret matrix of rank 4, and an adapter of
// rank 8 learns the shift from examples. Shows the parts of a training step; no files, no model.

#include <chrono>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <vector>

#include "wick/wick.hpp"

namespace {

constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kFeedForward = 768;
constexpr std::int64_t kTokens = 512;
constexpr std::int64_t kRank = 8;
constexpr int kSteps = 120;

// Every draw takes its own stretch of the random stream.
wick::Tensor draw(const wick::Shape& shape, double std, std::uint64_t stream) {
  return wick::random_normal(shape, wick::DType::kF32, {.seed = 7, .offset = stream << 32}, 0, std);
}

struct Block {
  wick::Tensor norm = wick::Tensor::full({kHidden}, 1, wick::DType::kF32);
  wick::Tensor gate = draw({kFeedForward, kHidden}, 1 / std::sqrt(kHidden), 1);
  wick::Tensor up = draw({kFeedForward, kHidden}, 1 / std::sqrt(kHidden), 2);
  wick::Tensor down = draw({kHidden, kFeedForward}, 1 / std::sqrt(kFeedForward), 3);
  wick::Tensor lora_a = draw({kRank, kHidden}, 1 / std::sqrt(kHidden), 4);
  wick::Tensor lora_b = wick::Tensor::zeros({kFeedForward, kRank}, wick::DType::kF32);

  wick::Tensor forward(const wick::Tensor& x) const {
    const wick::Tensor normed = wick::rms_norm(x, norm);
    const wick::Tensor g = wick::lora_linear(normed, gate, {}, lora_a, lora_b, {.scale = 2});
    const wick::Tensor u = wick::matmul(normed, up, {.transpose_b = true});
    return wick::matmul(wick::swiglu(g, u), down, {.transpose_b = true});
  }
};

wick::Tensor mean_square(const wick::Tensor& a, const wick::Tensor& b) {
  const wick::Tensor difference = wick::sub(a, b);
  return wick::mean(wick::mul(difference, difference));
}

}  // namespace

int main() try {
  Block student;
  student.lora_a.set_requires_grad(true);
  student.lora_b.set_requires_grad(true);

  Block teacher;
  teacher.gate = wick::add(
      teacher.gate, wick::matmul(draw({kFeedForward, 4}, 0.1, 5), draw({4, kHidden}, 0.5, 6)));

  std::vector<wick::AdamwParameter> parameters;
  for (const wick::Tensor& p : {student.lora_a, student.lora_b}) {
    parameters.push_back({.parameter = p,
                          .m = wick::Tensor::zeros(p.shape(), wick::DType::kF32),
                          .v = wick::Tensor::zeros(p.shape(), wick::DType::kF32)});
  }

  const auto start = std::chrono::steady_clock::now();
  float first = 0;
  float last = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const wick::Tensor x = draw({kTokens, kHidden}, 1, 100 + static_cast<std::uint64_t>(step));
    const wick::Tensor loss = mean_square(student.forward(x), teacher.forward(x));
    for (const wick::AdamwParameter& p : parameters) p.parameter.set_grad({});
    wick::backward(loss);
    const std::vector<wick::Tensor> grads{student.lora_a.grad(), student.lora_b.grad()};
    wick::clip_grad_norm_(grads, 1.0);
    wick::adamw_(parameters, step, {.lr = 1e-2, .weight_decay = 0});
    last = loss.item<float>();
    if (step == 1) first = last;
    if (step == 1 || step % 20 == 0) {
      std::cout << "step " << std::setw(3) << step << "  loss " << std::setprecision(4) << last
                << '\n';
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << "the adapter (" << kRank * (kHidden + kFeedForward) << " numbers beside "
            << kHidden * kFeedForward << " frozen ones) took the loss from " << first << " to "
            << last << "; " << static_cast<int>(kSteps * kTokens / seconds.count())
            << " tokens/s, peak memory "
            << wick::memory_stats(wick::kCpuDevice).peak_bytes / (1 << 20) << " MiB\n";
  return last < first / 20 ? 0 : 1;
} catch (const wick::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}

// What recording an op costs the host, with warm caches: nothing is committed while the time runs, so that neither a GPU nor
// software Metal computes anything in it. As a kernel of the backend, and as an op on tensors, with its checks and its
// result's memory.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "backends/mps/mps_backend.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/matmul_args.hpp"
#include "runtime/args/norm_args.hpp"
#include "runtime/backend.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/wick.hpp"

namespace wick::bench {
namespace {

constexpr Device kMps{DeviceType::kMps, 0};
constexpr int kOps = 200;  // recorded in a round: fewer than a command buffer holds
constexpr int kRounds = 25;

double micros_of(const std::function<void()>& record) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kOps; ++i) record();
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  return taken.count() / kOps;
}

void measure(const std::string& name, const std::function<void()>& record) {
  record();  // makes kernels and pipelines
  synchronize(kMps);
  std::vector<double> rounds;
  for (int i = 0; i < kRounds; ++i) {
    rounds.push_back(micros_of(record));
    synchronize(kMps);
  }
  std::sort(rounds.begin(), rounds.end());
  fmt::print("{:<34} {:>8.2f} {:>8.2f}\n", name, rounds[kRounds / 2], rounds.front());
}

int run() {
  const NoGradGuard no_gradient;
  Stream& stream = backend_of(kMps).default_stream();
  constexpr std::int64_t kSize = 64, kRank = 8;
  const auto matrix = [](std::int64_t rows, std::int64_t columns) {
    return Tensor::full({rows, columns}, 0.5, DType::kF32, kMps);
  };
  const Tensor x = matrix(kSize, kSize), w = matrix(kSize, kSize), out = matrix(kSize, kSize);
  const Tensor a = matrix(kRank, kSize), b = matrix(kSize, kRank), row = matrix(1, kSize);
  const Tensor few = matrix(4, kSize), few_out = matrix(4, kSize);
  const Tensor weight = reshape(row, {kSize});
  const auto batch_of_one = [](const Tensor& t) {
    return detail::view(reshape(t, {1, kSize, kSize}));
  };
  fmt::print("{}\n{:<34} {:>8} {:>8}\n", device_description(kMps), "µs an op", "median", "least");
  const MatmulArgs product{.a = batch_of_one(x), .b = batch_of_one(w), .c = batch_of_one(out)};
  measure("product by MPS, kernel", [&] { mps::matmul(stream, product); });
  const LoraLinearArgs layer{.x = detail::view(x),
                             .w = detail::view(w),
                             .a = detail::view(a),
                             .b = detail::view(b),
                             .out = detail::view(out)};
  measure("lora_linear, 3 launches, kernel", [&] { mps::lora_linear(stream, layer); });
  const RmsNormArgs norm{
      .x = detail::view(few), .weight = detail::view(weight), .out = detail::view(few_out)};
  measure("rms_norm, kernel", [&] { mps::rms_norm(stream, norm); });
  measure("product by MPS, op", [&] { static_cast<void>(matmul(x, w)); });
  measure("lora_linear, 3 launches, op", [&] { static_cast<void>(lora_linear(x, w, {}, a, b)); });
  measure("rms_norm, op", [&] { static_cast<void>(rms_norm(few, weight)); });
  return 0;
}

}  // namespace
}  // namespace wick::bench

int main() {
  try {
    return wick::bench::run();
  } catch (const wick::Error& error) {
    fmt::print(stderr, "wick_encode_bench: {}\n", error.what());
    return 1;
  }
}

// Times single ops at the sizes of a LoRA step and prints a JSON object a line: {"case": …, "us": …, "floor_us": …}.
//
//   wick_op_timings [--device cuda] [--small]
//
// `us` is the median time of a call, by the clock of the host around many calls that are waited for together; floor_us is
// what the device needs for the bytes at its copy rate, or for the products at the rate of a large one, both measured
// first. Cases named graph/… are captured once and replayed, so that they hold no cost of launches; where a device
// captures nothing they are called plainly. --small divides the sizes, for a try without a GPU.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "wick/wick.hpp"

namespace wick::bench {

namespace {

using Work = std::function<void()>;

struct Run {
  Device device;
  std::int64_t divisor = 1;
  double copy_bytes_per_us = 0;
  double flops_per_us = 0;

  std::int64_t sized(std::int64_t size) const { return std::max<std::int64_t>(size / divisor, 8); }
};

double us_of(const Run& run, std::int64_t calls, const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < calls; ++i) work();
  synchronize(run.device);
  const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - begin;
  return time.count() / static_cast<double>(calls);
}

// The median of nine groups of calls, each group about 20 ms long.
double median_us(const Run& run, const Work& work) {
  us_of(run, 3, work);
  const double once = us_of(run, 1, work);
  const auto calls = std::clamp<std::int64_t>(static_cast<std::int64_t>(20000 / once), 1, 1000);
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) times.push_back(us_of(run, calls, work));
  std::ranges::sort(times);
  return times[times.size() / 2];
}

void print(const std::string& name, double us, double floor_us) {
  fmt::print("{{\"case\": \"{}\", \"us\": {:.3f}, \"floor_us\": {:.3f}}}\n", name, us, floor_us);
  std::fflush(stdout);
}

// The time of one call among many in a captured graph.
double graph_us(const Run& run, const Work& work) {
  constexpr int kCalls = 50;
  synchronize(run.device);  // the operands were made on the default stream
  const std::shared_ptr<Stream> stream = make_stream(run.device);
  const StreamGuard guard(stream);
  if (!stream->supports_capture()) return median_us(run, work);
  for (int i = 0; i < 3; ++i) work();  // the allocator then holds what the capture needs
  stream->synchronize();
  stream->begin_capture();
  for (int i = 0; i < kCalls; ++i) work();
  const std::unique_ptr<Graph> graph = stream->end_capture();
  return median_us(run, [&] { stream->replay(*graph); }) / kCalls;
}

Tensor normal(const Run& run, const Shape& shape, DType dtype, std::uint64_t seed) {
  return random_normal(shape, dtype, {.seed = seed}, 0, 0.05, run.device);
}

void measure_machine(Run& run) {
  const NoGradGuard no_gradient;
  const std::int64_t rows = run.sized(16384);
  const Tensor x = normal(run, {rows, run.sized(4096)}, DType::kBF16, 1);
  const double bytes = 2.0 * static_cast<double>(x.numel()) * 2;
  const double copy = median_us(run, [&] { static_cast<void>(scale(x, 2)); });
  run.copy_bytes_per_us = bytes / copy;
  const std::int64_t side = run.sized(8192);
  const Tensor a = normal(run, {side, side}, DType::kBF16, 2);
  const double flops = 2.0 * static_cast<double>(side * side) * static_cast<double>(side);
  const double product = median_us(run, [&] { static_cast<void>(matmul(a, a)); });
  run.flops_per_us = flops / product;
  print("machine/copy", copy, copy);
  print("machine/product", product, product);
}

// One forward and one backward pass to the leaves that want a gradient.
Work step_of(std::vector<Tensor> leaves, std::function<Tensor()> forward, const Tensor& dy) {
  for (const Tensor& leaf : leaves) leaf.set_requires_grad(true);
  return [leaves = std::move(leaves), forward = std::move(forward), dy] {
    backward(forward(), dy);
    for (const Tensor& leaf : leaves) leaf.set_grad({});
  };
}

void time_rows(const Run& run) {
  const std::int64_t rows = run.sized(16384);
  const std::int64_t width = run.sized(4096);
  const Tensor x = normal(run, {rows, width}, DType::kBF16, 1);
  const Tensor weight = Tensor::full({width}, 1, DType::kBF16, run.device);
  const Tensor dy = normal(run, {rows, width}, DType::kBF16, 2);
  const double pass = 2.0 * static_cast<double>(x.numel()) / run.copy_bytes_per_us;
  {
    const NoGradGuard no_gradient;
    print("softmax_f/bf16", median_us(run, [&] { static_cast<void>(softmax(x)); }), 2 * pass);
    print("rms_norm_f/bf16", median_us(run, [&] { static_cast<void>(rms_norm(x, weight)); }),
          2 * pass);
  }
  // Reads x, writes y; reads x and dy, writes dx.
  const Work step = step_of({x, weight}, [&] { return rms_norm(x, weight); }, dy);
  print("rms_norm_fb/bf16", median_us(run, step), 5 * pass);
}

struct LinearShape {
  std::int64_t M, K, N, rank;
};

void time_linear(const Run& run, const LinearShape& shape) {
  const std::int64_t M = run.sized(shape.M);
  const std::int64_t K = run.sized(shape.K);
  const std::int64_t N = run.sized(shape.N);
  const Tensor x = normal(run, {M, K}, DType::kBF16, 1);
  const Tensor w = normal(run, {N, K}, DType::kBF16, 2);
  const Tensor a = normal(run, {shape.rank, K}, DType::kF32, 3);
  const Tensor b = normal(run, {N, shape.rank}, DType::kF32, 4);
  const Tensor dy = normal(run, {M, N}, DType::kBF16, 5);
  const auto frozen = [&] { return matmul(x, transpose(w, 0, 1)); };
  const auto lora = [&] { return lora_linear(x, w, {}, a, b, {.scale = 2}); };
  const std::string name = fmt::format("{}x{}x{}_r{}", shape.M, shape.K, shape.N, shape.rank);
  const double floor = 2.0 * static_cast<double>(M * K) * static_cast<double>(N) / run.flops_per_us;
  {
    const NoGradGuard no_gradient;
    print("frozen_f/" + name, median_us(run, [&] { static_cast<void>(frozen()); }), floor);
    print("lora_f/" + name, median_us(run, [&] { static_cast<void>(lora()); }), floor);
  }
  print("frozen_fb/" + name, median_us(run, step_of({x}, frozen, dy)), 2 * floor);
  print("lora_fb/" + name, median_us(run, step_of({x, a, b}, lora, dy)), 2 * floor);
}

void time_small(const Run& run) {
  const NoGradGuard no_gradient;
  const Tensor x = normal(run, {128, 1024}, DType::kF32, 1);
  const Tensor weight = Tensor::full({1024}, 1, DType::kF32, run.device);
  const double copy = 2.0 * static_cast<double>(x.numel()) * 4 / run.copy_bytes_per_us;
  print("graph/softmax_f32", graph_us(run, [&] { static_cast<void>(softmax(x)); }), copy);
  print("graph/rms_norm_f32", graph_us(run, [&] { static_cast<void>(rms_norm(x, weight)); }), copy);
  for (const std::int64_t side : {512, 1024, 2048}) {
    const Tensor input = normal(run, {128, side}, DType::kF32, 2);
    const Tensor a = transpose(normal(run, {8, side}, DType::kF32, 3), 0, 1);
    const Tensor b = transpose(normal(run, {side, 8}, DType::kF32, 4), 0, 1);
    const double bytes = 4.0 * static_cast<double>(2 * input.numel() + 2 * 8 * side);
    print(fmt::format("graph/lora_delta_f32_{}", side),
          graph_us(run, [&] { static_cast<void>(matmul(matmul(input, a), b)); }),
          bytes / run.copy_bytes_per_us);
  }
}

int run_all(int argc, char** argv) {
  Run run{.device = {DeviceType::kCuda, 0}};
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0) {
      run.divisor = 64;
    } else if (std::strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
      run.device = parse_device(argv[++i]);
    } else {
      fmt::print(stderr, "usage: wick_op_timings [--device DEVICE] [--small]\n");
      return 2;
    }
  }
  measure_machine(run);
  time_rows(run);
  for (const LinearShape& shape :
       {LinearShape{8192, 4096, 4096, 16}, LinearShape{8192, 4096, 14336, 16},
        LinearShape{16384, 896, 4864, 16}, LinearShape{16384, 2048, 2048, 8}}) {
    time_linear(run, shape);
  }
  time_small(run);
  return 0;
}

}  // namespace

}  // namespace wick::bench

int main(int argc, char** argv) {
  try {
    return wick::bench::run_all(argc, argv);
  } catch (const wick::Error& error) {
    fmt::print(stderr, "wick_op_timings: {}\n", error.what());
    return 1;
  }
}

#include "metal_speed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>

#include "wick/apple/metal.hpp"
#include "wick/apple/mps.hpp"
#include "wick/wick.hpp"

namespace wick::cli {

namespace {

namespace metal = apple::metal;
namespace mps = apple::mps;

constexpr Device kMps{DeviceType::kMps, 0};

metal::Device system_device() {
  auto found = metal::Device::system_default();
  if (!found) throw Error(ErrorKind::kDevice, "selftest", "Metal knows no GPU here");
  return *found;
}

// Numbers of [-1, 1), the same in every run.
std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<float> made(static_cast<std::size_t>(count));
  for (float& number : made) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    number = static_cast<float>(seed >> 40) / static_cast<float>(1 << 23) - 1;
  }
  return made;
}

// ---- the naive way: what a program does that keeps nothing from one kernel to the next

// A matrix [rows,columns] f32 on a buffer of its own.
class NaiveMatrix {
 public:
  NaiveMatrix(const metal::Device& device, std::int64_t rows, std::int64_t columns,
              std::span<const float> values)
      : matrix_(values.empty()
                    ? device.buffer(static_cast<std::size_t>(rows * columns) * sizeof(float))
                    : device.buffer(std::as_bytes(values)),
                mps::MatrixDescriptor({.rows = static_cast<std::uint64_t>(rows),
                                       .columns = static_cast<std::uint64_t>(columns)})) {}

  const mps::Matrix& matrix() const { return matrix_; }
  const metal::Buffer& buffer() const { return *matrix_.buffer(); }
  std::vector<float> values() const {
    std::vector<float> read(buffer().length() / sizeof(float));
    std::memcpy(read.data(), buffer().contents(), read.size() * sizeof(float));
    return read;
  }

 private:
  mps::Matrix matrix_;
};

class NaiveMetal {
 public:
  NaiveMetal() : device_(system_device()) {}

  const metal::Device& device() const { return device_; }

  // result = alpha · left op(right) + beta · result.
  void multiply(const NaiveMatrix& left, const NaiveMatrix& right, bool transpose_right,
                const NaiveMatrix& result, double alpha = 1, double beta = 0) const {
    const mps::MatrixLayout& out = result.matrix().layout();
    run([&](metal::CommandBuffer& commands) {
      mps::MatrixMultiplication(device_, out.rows, out.columns, left.matrix().layout().columns,
                                {.transpose_right = transpose_right, .alpha = alpha, .beta = beta})
          .encode(commands, left.matrix(), right.matrix(), result.matrix());
    });
  }
  void softmax(const NaiveMatrix& x, const NaiveMatrix& result) const {
    run([&](metal::CommandBuffer& commands) {
      mps::MatrixSoftMax(device_).encode(commands, x.matrix(), result.matrix());
    });
  }
  // MPS has none: a kernel of a thread for each row, compiled once.
  void rms_norm(const NaiveMatrix& x, const NaiveMatrix& weight, const NaiveMatrix& result) {
    if (!rms_norm_) rms_norm_ = device_.pipeline(device_.library(kRmsNorm).function("rms_norm"));
    const auto columns = static_cast<std::uint32_t>(x.matrix().layout().columns);
    run([&](metal::CommandBuffer& commands) {
      metal::ComputeEncoder encoder = commands.compute_encoder();
      encoder.set_pipeline(*rms_norm_);
      encoder.set_buffer(x.buffer(), 0, 0);
      encoder.set_buffer(weight.buffer(), 0, 1);
      encoder.set_buffer(result.buffer(), 0, 2);
      encoder.set_bytes(std::as_bytes(std::span(&columns, 1)), 3);
      const std::uint64_t rows = x.matrix().layout().rows;
      encoder.dispatch_threads({rows}, {std::min<std::uint64_t>(rows, 64)});
    });
  }

 private:
  static constexpr const char* kRmsNorm = R"(#include <metal_stdlib>
using namespace metal;
kernel void rms_norm(device const float* x [[buffer(0)]], device const float* weight [[buffer(1)]],
                     device float* out [[buffer(2)]], constant uint& columns [[buffer(3)]],
                     uint row [[thread_position_in_grid]]) {
  float squares = 0;
  for (uint i = 0; i < columns; ++i) squares += x[row * columns + i] * x[row * columns + i];
  const float factor = rsqrt(squares / float(columns) + 1e-5f);
  for (uint i = 0; i < columns; ++i) out[row * columns + i] = x[row * columns + i] * factor * weight[i];
}
)";

  void run(const std::function<void(metal::CommandBuffer&)>& encode) const {
    const apple::AutoreleaseScope scope;
    const metal::CommandQueue queue = device_.queue();
    metal::CommandBuffer commands = queue.command_buffer();
    encode(commands);
    commands.commit();
    commands.wait();
  }

  metal::Device device_;
  std::optional<metal::ComputePipeline> rms_norm_;
};

// ---- an op both ways

struct Case {
  std::string op, shape;
  std::function<Tensor()> ours;
  std::function<void()> naive;
  std::function<std::vector<float>()> naive_result;
};

double distance(const std::vector<float>& got, const std::vector<float>& expected) {
  double apart = 0;
  double size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    apart += std::pow(double{got[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(apart / size);
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The median of at least three, after the one that has warmed up.
double median_seconds(const MetalSpeedOptions& options, const std::function<void()>& work) {
  constexpr std::size_t kLeast = 3;
  std::vector<double> times;
  double total = 0;
  while (times.size() < kLeast || total < options.sample_seconds) {
    times.push_back(seconds_of(work));
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

MetalTiming measure(const Case& test, const MetalSpeedOptions& options) {
  MetalTiming timing{.op = test.op, .shape = test.shape};
  test.naive();
  timing.error = distance(test.ours().to_vector<float>(), test.naive_result());
  timing.each = median_seconds(options, [&] {
    static_cast<void>(test.ours());
    synchronize(kMps);
  });
  constexpr double kMostInABatch = 64;
  const double fitting = options.sample_seconds / std::max(timing.each, 1e-9);
  const int count = static_cast<int>(std::clamp(fitting, 2.0, kMostInABatch));
  timing.batched = median_seconds(options,
                                  [&] {
                                    for (int i = 0; i < count; ++i) static_cast<void>(test.ours());
                                    synchronize(kMps);
                                  }) /
                   count;
  timing.naive = median_seconds(options, test.naive);
  return timing;
}

// An operand in both worlds.
struct Operand {
  Tensor tensor;
  std::shared_ptr<NaiveMatrix> naive;
};

class Cases {
 public:
  explicit Cases(NaiveMetal& metal) : metal_(metal) {}

  Case matmul_of(std::int64_t n) {
    const Operand a = operand(n, n, 1);
    const Operand b = operand(n, n, 2);
    const auto c = result(n, n);
    return {.op = "matmul",
            .shape = fmt::format("[{0},{0}] x [{0},{0}]", n),
            .ours = [=] { return matmul(a.tensor, b.tensor); },
            .naive = [=, this] { metal_.multiply(*a.naive, *b.naive, false, *c); },
            .naive_result = [=] { return c->values(); }};
  }
  Case lora_of(std::int64_t n, std::int64_t r) {
    constexpr double kScale = 2;
    const Operand x = operand(n, n, 1), w = operand(n, n, 2), a = operand(r, n, 3),
                  b = operand(n, r, 4);
    const auto out = result(n, n), xa = result(n, r);
    return {.op = "lora_linear",
            .shape = fmt::format("[{0},{0}] x [{0},{0}], r {1}", n, r),
            .ours =
                [=] {
                  return lora_linear(x.tensor, w.tensor, {}, a.tensor, b.tensor, {.scale = kScale});
                },
            .naive =
                [=, this] {
                  metal_.multiply(*x.naive, *w.naive, true, *out);
                  metal_.multiply(*x.naive, *a.naive, true, *xa);
                  metal_.multiply(*xa, *b.naive, true, *out, kScale, 1);
                },
            .naive_result = [=] { return out->values(); }};
  }
  Case softmax_of(std::int64_t n) {
    const Operand x = operand(n, n, 1);
    const auto out = result(n, n);
    return {.op = "softmax",
            .shape = fmt::format("[{0},{0}]", n),
            .ours = [=] { return softmax(x.tensor); },
            .naive = [=, this] { metal_.softmax(*x.naive, *out); },
            .naive_result = [=] { return out->values(); }};
  }
  Case rms_norm_of(std::int64_t n) {
    const Operand x = operand(n, n, 1), weight = operand(1, n, 2);
    const Tensor row = reshape(weight.tensor, {n});
    const auto out = result(n, n);
    return {.op = "rms_norm",
            .shape = fmt::format("[{0},{0}]", n),
            .ours = [=] { return rms_norm(x.tensor, row); },
            .naive = [=, this] { metal_.rms_norm(*x.naive, *weight.naive, *out); },
            .naive_result = [=] { return out->values(); }};
  }

 private:
  Operand operand(std::int64_t rows, std::int64_t columns, std::uint64_t seed) const {
    const std::vector<float> values = numbers(rows * columns, seed);
    return {Tensor::from_values(values, {rows, columns}, kMps),
            std::make_shared<NaiveMatrix>(metal_.device(), rows, columns, values)};
  }
  std::shared_ptr<NaiveMatrix> result(std::int64_t rows, std::int64_t columns) const {
    return std::make_shared<NaiveMatrix>(metal_.device(), rows, columns, std::span<const float>());
  }

  NaiveMetal& metal_;
};

// The sizes that may be measured, never none; the others are noted under the op's name.
std::vector<std::int64_t> sizes_up_to(std::int64_t most, std::span<const std::int64_t> sizes,
                                      std::string_view op, std::vector<std::string>& left_out) {
  std::vector<std::int64_t> kept;
  for (const std::int64_t size : sizes) {
    if (size <= most) {
      kept.push_back(size);
    } else {
      left_out.push_back(fmt::format("{} {}", op, size));
    }
  }
  if (kept.empty()) kept.push_back(most);
  return kept;
}

}  // namespace

bool is_software_metal() { return system_device().name() == "Software Metal"; }

std::string metal_system_version() { return metal::system_version(); }

std::vector<apple::MethodCheck> metal_methods() { return apple::check_methods(); }

std::vector<std::string> metal_speed(const MetalSpeedOptions& options,
                                     const std::function<void(const MetalTiming&)>& sink) {
  constexpr std::int64_t kProducts[] = {64, 128, 256, 512, 1024, 2048};
  constexpr std::int64_t kLora[] = {512, 1024, 2048};
  constexpr std::int64_t kRanks[] = {4, 8, 16, 32, 64};
  constexpr std::int64_t kRows[] = {1024};
  const NoGradGuard no_gradient;
  NaiveMetal metal;
  Cases cases(metal);
  std::vector<std::string> left_out;
  const auto sizes = [&](std::span<const std::int64_t> all, std::string_view op) {
    return sizes_up_to(options.max_size, all, op, left_out);
  };
  for (const std::int64_t n : sizes(kProducts, "matmul"))
    sink(measure(cases.matmul_of(n), options));
  for (const std::int64_t n : sizes(kLora, "lora_linear")) {
    for (const std::int64_t r : kRanks) {
      if (r <= n) sink(measure(cases.lora_of(n, r), options));
    }
  }
  for (const std::int64_t n : sizes(kRows, "softmax")) sink(measure(cases.softmax_of(n), options));
  for (const std::int64_t n : sizes(kRows, "rms_norm"))
    sink(measure(cases.rms_norm_of(n), options));
  return left_out;
}

}  // namespace wick::cli

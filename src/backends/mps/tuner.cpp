#include "backends/mps/tuner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>

#include "backends/mps/kernels/lora_linear.hpp"
#include "backends/mps/mps_backend.hpp"
#include "layout/layout.hpp"
#include "runtime/args/lora_linear_args.hpp"

namespace wick::mps {

namespace {

double median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

double system_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Operands for a call of this shape, dense, and the call by any of its ways.
class Call {
 public:
  Call(Stream& stream, const CallShape& shape) : stream_(stream), shape_(shape) {}

  KernelStatus run(std::string_view way) {
    const OpScope scope("tune");
    switch (shape_.kernel) {
      case ChoiceKernel::kMatmul:
        return multiply(stream_, product(), way);
      case ChoiceKernel::kLoraLinear:
        return lora_linear_by(way, stream_, forward());
      case ChoiceKernel::kLoraLinearBackward:
        return lora_linear_backward_by(way, stream_, backward());
    }
    return KernelStatus::unsupported("no kernel");
  }

 private:
  // The n-th operand: memory that is made once and holds numbers that are neither tiny nor infinite in any dtype.
  void* operand(std::size_t n, std::int64_t count, DType dtype) {
    constexpr std::byte kQuiet{0x3C};
    while (memory_.size() <= n) memory_.emplace_back();
    if (!memory_[n]) {
      const auto bytes =
          static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * size_of(dtype);
      memory_[n].emplace(stream_, bytes);
      mps_stream(stream_).fill(memory_[n]->data(), kQuiet, bytes);
    }
    return memory_[n]->data();
  }
  TensorView view(std::size_t n, Shape shape, DType dtype) {
    return {.data = operand(n, shape.numel(), dtype),
            .dtype = dtype,
            .shape = shape,
            .strides = contiguous_layout(shape).strides,
            .device = stream_.device(),
            .present = true};
  }
  Matrix matrix(std::size_t n, std::int64_t rows, std::int64_t columns, DType dtype,
                bool by_columns) {
    return {.data = operand(n, shape_.G * rows * columns, dtype),
            .dtype = dtype,
            .row_stride = by_columns ? 1 : columns,
            .column_stride = by_columns ? rows : 1,
            .batch_stride = rows * columns};
  }
  Product product() {
    const CallShape& s = shape_;
    return {.G = s.G,
            .M = s.M,
            .N = s.N,
            .K = s.K,
            .a = matrix(0, s.M, s.K, s.a, s.a_by_columns),
            .b = matrix(1, s.K, s.N, s.b, s.b_by_columns),
            .c = operand(2, s.G * s.M * s.N, s.c),
            .c_dtype = s.c,
            .c_row_stride = s.N,
            .c_batch_stride = s.M * s.N};
  }
  LoraLinearArgs forward() {
    const CallShape& s = shape_;
    LoraLinearArgs args{.x = view(0, {s.M, s.K}, s.a),
                        .w = view(1, {s.N, s.K}, s.b),
                        .a = view(3, {s.R, s.K}, s.update),
                        .b = view(4, {s.N, s.R}, s.update),
                        .out = view(2, {s.M, s.N}, s.c)};
    if (s.has_bias) args.bias = view(5, {s.N}, s.b);
    return args;
  }
  // The gradient of x alone: M, N and K are those of its product.
  LoraLinearBackwardArgs backward() {
    const CallShape& s = shape_;
    return {.dy = view(0, {s.M, s.K}, s.a),
            .x = view(5, {s.M, s.N}, s.a),
            .w = view(1, {s.K, s.N}, s.b),
            .a = view(3, {s.R, s.N}, s.update),
            .b = view(4, {s.K, s.R}, s.update),
            .dx = view(2, {s.M, s.N}, s.c)};
  }

  Stream& stream_;
  CallShape shape_;
  std::deque<std::optional<Scratch>> memory_;
};

class Measurement {
 public:
  Measurement(Stream& stream, const TuneOptions& options)
      : stream_(stream), options_(options), clock_(options.clock ? options.clock : system_clock) {}

  // Adds the times of each way of a call, times how often it is made. A call that other ways take than those before it is
  // left out.
  void add(const CallShape& shape, std::int64_t count, WayTimes& times) {
    Call call(stream_, shape);
    std::vector<std::string_view> ways;
    for (const std::string_view way : ways_of(shape.kernel)) {
      if (call.run(way).is_ok()) ways.push_back(way);  // makes pipelines and kernels, too
    }
    stream_.synchronize();
    const bool is_known = std::ranges::all_of(ways, [&](auto way) { return times.contains(way); });
    if (ways.size() < 2 || (!times.empty() && (!is_known || ways.size() != times.size()))) return;
    const int repeats = repeats_of(call, ways[0]);
    std::map<std::string_view, std::vector<double>> measured;
    for (int round = 0; round < options_.rounds; ++round) {
      for (const std::string_view way : ways) {
        measured[way].push_back(seconds_of(call, way, repeats) * static_cast<double>(count));
      }
    }
    for (const auto& [way, seconds] : measured) add_to(times[way], seconds);
  }

 private:
  double seconds_of(Call& call, std::string_view way, int repeats) {
    const double begin = clock_();
    for (int i = 0; i < repeats; ++i) call.run(way);
    stream_.synchronize();
    return (clock_() - begin) / repeats;
  }
  int repeats_of(Call& call, std::string_view way) {
    constexpr double kMost = 64;
    const double once = seconds_of(call, way, 1);
    if (!(once * kMost > options_.sample_seconds)) return static_cast<int>(kMost);
    return std::max(1, static_cast<int>(std::ceil(options_.sample_seconds / once)));
  }
  static void add_to(std::vector<double>& sums, const std::vector<double>& seconds) {
    sums.resize(seconds.size());
    for (std::size_t i = 0; i < seconds.size(); ++i) sums[i] += seconds[i];
  }

  Stream& stream_;
  const TuneOptions& options_;
  std::function<double()> clock_;
};

// What run_ways() takes of these without a measurement.
std::string_view default_way(const CallShape& shape, const WayTimes& times) {
  for (const std::string_view way : ways_of(shape.kernel)) {
    if (times.contains(way) && (way != "mps" || is_worth_mps(shape))) return way;
  }
  return times.begin()->first;
}

}  // namespace

std::string_view best_way(const WayTimes& times, std::string_view otherwise) {
  constexpr double kGain = 1.05;
  const std::vector<double>& usual = times.at(otherwise);
  double least = *std::ranges::min_element(usual) / kGain;
  std::string_view best = otherwise;
  for (const auto& [way, seconds] : times) {
    const double middle = median(seconds);
    if (way == otherwise || !(middle < least)) continue;
    least = middle;
    best = way;
  }
  return best;
}

std::vector<TunedCall> measure_ways(MpsBackend& backend, const WayChoice::Calls& calls,
                                    const TuneOptions& options, WayTable& table) {
  const auto stream = backend.make_stream();
  Measurement measurement(*stream, options);
  // All calls of a rounded shape together, since they will go the same way.
  std::map<CallShape, std::vector<CallShape>> groups;
  for (const auto& [shape, count] : calls) {
    if (shape.G * shape.M * shape.N * shape.K > 0) groups[rounded(shape)].push_back(shape);
  }
  std::vector<TunedCall> tuned;
  for (const auto& [group, shapes] : groups) {
    WayTimes times;
    for (const CallShape& shape : shapes) measurement.add(shape, calls.at(shape), times);
    if (times.size() < 2) continue;
    const std::string_view usual = default_way(shapes.front(), times);
    const std::string_view best = best_way(times, usual);
    table.set(group, best == usual ? std::string_view() : best);
    TunedCall& made = tuned.emplace_back(TunedCall{.kernel = std::string(name_of(group.kernel)),
                                                   .shape = describe(group),
                                                   .otherwise = std::string(usual),
                                                   .chosen = std::string(best)});
    for (const auto& [way, seconds] : times) made.seconds.emplace_back(way, median(seconds));
  }
  return tuned;
}

}  // namespace wick::mps

#include "backends/mps/tuner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "backends/mps/kernels/lora_linear.hpp"
#include "backends/mps/kernels/softmax.hpp"
#include "backends/mps/mps_backend.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/products.hpp"
#include "base/check.hpp"
#include "layout/layout.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/random_args.hpp"
#include "wick/base/float16.hpp"

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

// Elements of memory of the device that nothing writes to any more, as float32.
std::vector<float> sample(const void* data, std::int64_t count, DType dtype) {
  constexpr std::int64_t kMost = 65536;
  const std::int64_t step = (count + kMost - 1) / kMost;
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; i += step) {
    values.push_back(dtype == DType::kF16    ? float{static_cast<const Half*>(data)[i]}
                     : dtype == DType::kBF16 ? float{static_cast<const BFloat16*>(data)[i]}
                                             : static_cast<const float*>(data)[i]);
  }
  return values;
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
      case ChoiceKernel::kSoftmax:
      case ChoiceKernel::kLogSoftmax:
        return softmax_by(way, shape_.kernel, stream_, {.x = rows(0), .out = rows(kResult)});
      case ChoiceKernel::kSoftmaxBackward:
      case ChoiceKernel::kLogSoftmaxBackward:
        return softmax_backward_by(way, shape_.kernel, stream_,
                                   {.dy = rows(0), .y = rows(1), .dx = rows(kResult)});
    }
    return KernelStatus::unsupported("no kernel");
  }

  // Some elements of the result by a way, evenly chosen; nothing where it does not take the call.
  std::optional<std::vector<float>> results_by(std::string_view way) {
    constexpr std::byte kNan{0xFF};
    const std::int64_t count = shape_.G * shape_.M * shape_.N;
    const void* const result = operand(kResult, count, shape_.c);
    mps_stream(stream_).fill(memory_[kResult]->data(), kNan,
                             static_cast<std::size_t>(count) * size_of(shape_.c));
    if (!run(way).is_ok()) return std::nullopt;
    stream_.synchronize();
    return sample(result, count, shape_.c);
  }

 private:
  static constexpr std::size_t kResult = 2;

  // The n-th operand: memory that is made once and holds random numbers.
  void* operand(std::size_t n, std::int64_t count, DType dtype) {
    while (memory_.size() <= n) memory_.emplace_back();
    if (!memory_[n]) {
      const auto bytes =
          static_cast<std::size_t>(std::max<std::int64_t>(count, 1)) * size_of(dtype);
      memory_[n].emplace(stream_, bytes);
      const TensorView out{.data = memory_[n]->data(),
                           .dtype = dtype,
                           .shape = {count},
                           .strides = {1},
                           .device = stream_.device(),
                           .present = true};
      const KernelStatus status = random_normal(stream_, {.out = out, .key = {.seed = n}});
      detail::check(status.is_ok(), "random numbers were refused");
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
  TensorView rows(std::size_t n) { return view(n, {shape_.M, shape_.N}, shape_.a); }
  Matrix matrix(std::size_t n, std::int64_t rows, std::int64_t columns, DType dtype,
                bool by_columns, bool shared) {
    return {.data = operand(n, shape_.G * rows * columns, dtype),
            .dtype = dtype,
            .row_stride = by_columns ? 1 : columns,
            .column_stride = by_columns ? rows : 1,
            .batch_stride = shared ? 0 : rows * columns};
  }
  Product product() {
    const CallShape& s = shape_;
    return {.G = s.G,
            .M = s.M,
            .N = s.N,
            .K = s.K,
            .a = matrix(0, s.M, s.K, s.a, s.a_by_columns, s.a_shared),
            .b = matrix(1, s.K, s.N, s.b, s.b_by_columns, s.b_shared),
            .c = operand(kResult, s.G * s.M * s.N, s.c),
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
                        .out = view(kResult, {s.M, s.N}, s.c)};
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
            .dx = view(kResult, {s.M, s.N}, s.c)};
  }

  Stream& stream_;
  CallShape shape_;
  std::deque<std::optional<Scratch>> memory_;
};

// Whether two results differ in rounding alone: what MPS sums up halves in is not written down.
bool is_alike(const std::vector<float>& one, const std::vector<float>& other,
              const CallShape& shape) {
  const bool rounds_finely = shape.a == DType::kF32 && shape.b == DType::kF32;
  float most = 0;
  for (const float value : other) most = std::max(most, std::abs(value));
  const float tolerance = (rounds_finely ? 1e-3F : 0.05F) * most;
  return std::ranges::equal(
      one, other, [&](float a, float b) { return a == b || std::abs(a - b) <= tolerance; });
}

// The ways of a group of calls.
struct MeasuredWays {
  WayTimes times;
  std::set<std::string_view> wrong;  // that compute something else

  bool contain(std::string_view way) const { return times.contains(way) || wrong.contains(way); }
};

class Measurement {
 public:
  Measurement(Stream& stream, const TuneOptions& options)
      : stream_(stream), options_(options), clock_(options.clock ? options.clock : system_clock) {}

  // Adds the times of each way of a call, times how often it is made. A call that other ways take than those before it is
  // left out.
  void add(const CallShape& shape, std::int64_t count, MeasuredWays& found) {
    Call call(stream_, shape);
    const std::vector<std::string_view> ways = right_ways(call, shape, found);
    WayTimes& times = found.times;
    const bool is_known = std::ranges::all_of(ways, [&](auto way) { return times.contains(way); });
    if (ways.size() + found.wrong.size() < 2) return;
    if (!times.empty() && (!is_known || ways.size() != times.size())) return;
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
  // The ways that take the call and compute what our own kernel does; makes their pipelines and kernels, too.
  static std::vector<std::string_view> right_ways(Call& call, const CallShape& shape,
                                                  MeasuredWays& found) {
    std::map<std::string_view, std::vector<float>> results;
    for (const std::string_view way : ways_of(shape.kernel)) {
      if (auto result = call.results_by(way)) results.emplace(way, std::move(*result));
    }
    const auto ours =
        std::ranges::find_if(results, [](const auto& one) { return !is_by_mps(one.first); });
    detail::check(ours != results.end(), "no kernel of ours takes the call");
    std::vector<std::string_view> right;
    for (const auto& [way, result] : results) {
      if (is_alike(result, ours->second, shape)) {
        right.push_back(way);
      } else {
        found.wrong.insert(way);
      }
    }
    return right;
  }
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

// The first way that run_ways() tries without a measurement and that `may_be` allows.
template <class MayBe>
std::string_view default_way(const CallShape& shape, const MayBe& may_be) {
  const auto ways = ways_of(shape.kernel);
  const auto found = std::ranges::find_if(
      ways, [&](std::string_view way) { return may_be(way) && is_usual(way, shape); });
  detail::check(found != ways.end(), "no way takes the call");
  return *found;
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
    if (!is_empty(shape)) groups[rounded(shape)].push_back(shape);
  }
  std::vector<TunedCall> tuned;
  for (const auto& [group, shapes] : groups) {
    MeasuredWays found;
    for (const CallShape& shape : shapes) measurement.add(shape, calls.at(shape), found);
    for (const std::string_view way : found.wrong) found.times.erase(way);
    if (found.times.empty()) continue;
    const CallShape& shape = shapes.front();
    const auto usual = default_way(shape, [&](auto way) { return found.contain(way); });
    const auto otherwise = default_way(shape, [&](auto way) { return found.times.contains(way); });
    const std::string_view best = best_way(found.times, otherwise);
    table.set(group, best == usual ? std::string_view() : best);
    TunedCall& made =
        tuned.emplace_back(TunedCall{.kernel = std::string(name_of(group.kernel)),
                                     .shape = describe(group),
                                     .seconds = {},
                                     .wrong = {found.wrong.begin(), found.wrong.end()},
                                     .otherwise = std::string(usual),
                                     .chosen = std::string(best)});
    for (const auto& [way, seconds] : found.times) made.seconds.emplace_back(way, median(seconds));
  }
  return tuned;
}

}  // namespace wick::mps

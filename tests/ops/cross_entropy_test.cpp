// The kernel of the loss when it makes the gradient of its sum at once, element by element: rows of one class and of a
// quarter million, ignored ones, weights, every dtype of the gradient, on every device and in every way it has.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

#include "harness/check_op.hpp"
#include "harness/error_of.hpp"
#include "harness/inputs.hpp"
#include "runtime/args/cross_entropy_args.hpp"
#include "runtime/launch.hpp"
#include "tensor/tensor_impl.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::testing {

namespace {

constexpr std::int64_t kIgnored = -100;

struct Call {
  std::int64_t N = 0;
  std::int64_t V = 0;
  double smoothing = 0;
  bool weighted = false;
  DType targets = DType::kI64;
  Lay lay = Lay::kDense;
};

std::ostream& operator<<(std::ostream& out, const Call& call) {
  return out << fmt::format("{}x{} smoothing {} weighted {} lay {}", call.N, call.V, call.smoothing,
                            call.weighted, static_cast<int>(call.lay));
}

// The operands of a call and, in double, what is to come of them.
struct Expected {
  explicit Expected(const Call& call)
      : logits({call.N, call.V}),
        targets({call.N}),
        weights({call.N}),
        gradient({call.N, call.V}),
        size({call.N, call.V}) {
    std::mt19937_64 rng(static_cast<std::uint64_t>(call.V));
    std::normal_distribution<double> normal(0, 2);
    for (double& value : logits.data) value = round_to(DType::kF32, normal(rng));
    for (std::int64_t n = 0; n < call.N; ++n) {
      const auto target = static_cast<std::int64_t>(rng() % static_cast<std::uint64_t>(call.V));
      const bool ignored = n % 3 == 1;
      targets[n] = static_cast<double>(ignored ? kIgnored : target);
      weights[n] = call.weighted ? 0.25 * static_cast<double>(n % 5) : 1;
      // A class without probability, and a NaN that nobody may see.
      if (call.smoothing == 0 && call.V > 1) logits[n * call.V + (target + 1) % call.V] = -HUGE_VAL;
      if (ignored) logits[n * call.V] = std::nan("");
      if (!ignored) add_row(call, n, target);
    }
  }

  Array logits, targets, weights;
  Array gradient;
  Array size;  // of what an element is the difference of
  double loss_sum = 0;
  double loss_size = 0;
  double weight_sum = 0;

 private:
  void add_row(const Call& call, std::int64_t n, std::int64_t target) {
    const double* const z = logits.data.data() + n * call.V;
    const double max = *std::max_element(z, z + call.V);
    const auto V = static_cast<double>(call.V);
    double sum = 0;
    double mean = 0;
    for (std::int64_t v = 0; v < call.V; ++v) sum += std::exp(z[v] - max);
    for (std::int64_t v = 0; v < call.V && call.smoothing > 0; ++v) mean += z[v] / V;
    const double lse = max + std::log(sum);
    for (std::int64_t v = 0; v < call.V; ++v) {
      const double probability = std::exp(z[v] - max) / sum;
      const double share = (v == target ? 1 - call.smoothing : 0) + call.smoothing / V;
      gradient[n * call.V + v] = weights[n] * (probability - share);
      size[n * call.V + v] = weights[n] * (probability + share);
    }
    loss_sum += weights[n] * (lse - (1 - call.smoothing) * z[target] - call.smoothing * mean);
    loss_size += weights[n] * (std::abs(lse) + std::abs(z[target]) + std::abs(mean));
    weight_sum += weights[n];
  }
};

struct Results {
  Array gradient;
  double loss_sum = 0;
  double weight_sum = 0;
};

// In place where the gradient is f32 and the rows are dense.
Results run(const Call& call, const Expected& expected, DType dtype, Device device) {
  const Tensor logits = make_tensor(expected.logits, DType::kF32, call.lay, device);
  const Tensor targets = make_tensor(expected.targets, call.targets, Lay::kDense, device);
  const Tensor weights =
      call.weighted ? make_tensor(expected.weights, DType::kF32, Lay::kDense, device) : Tensor();
  const Tensor lse = Tensor::empty({call.N}, DType::kF32, device);
  const auto number = [&] { return Tensor::empty({}, DType::kF32, device); };
  const Tensor loss_sum = number();
  const Tensor weight_sum = number();
  const bool in_place = dtype == DType::kF32 && call.lay == Lay::kDense;
  const Tensor dlogits = in_place ? logits : Tensor::empty({call.N, call.V}, dtype, device);
  launch(kernels::cross_entropy, device,
         CrossEntropyArgs{.logits = detail::view(logits),
                          .targets = detail::view(targets),
                          .weights = detail::view(weights),
                          .lse = detail::view(lse),
                          .loss_sum = detail::view(loss_sum),
                          .weight_sum = detail::view(weight_sum),
                          .inv_weight = {},
                          .dlogits = detail::view(dlogits),
                          .ignore_index = kIgnored,
                          .label_smoothing = static_cast<float>(call.smoothing)});
  return {to_array(dlogits), to_array(loss_sum)[0], to_array(weight_sum)[0]};
}

// f32 arithmetic: a logit's rounding against the maximum, 1e-7 of some 10, and that of a sum of V.
void expect_close(const Results& got, const Expected& expected, DType dtype) {
  constexpr double kRelative = 4e-6;
  const double smallest = dtype == DType::kF16 ? 0x1p-24 : 1e-38;
  for (std::int64_t i = 0; i < expected.gradient.numel(); ++i) {
    const double tolerance = 2 * unit_roundoff(dtype) * std::abs(expected.gradient[i]) +
                             kRelative * expected.size[i] + smallest;
    ASSERT_NEAR(got.gradient[i], expected.gradient[i], tolerance) << "element " << i;
  }
  EXPECT_NEAR(got.loss_sum, expected.loss_sum, kRelative * expected.loss_size);
  EXPECT_NEAR(got.weight_sum, expected.weight_sum, 1e-6 * expected.weight_sum);
}

// Software Metal takes its time; there the op's cases are run.
template <class F>
void for_each_way(const F& f) {
  for (const Device device : computing_devices()) {
    if (device.type == DeviceType::kMps) continue;
    for (const std::string& setting : settings_for(device, "cross_entropy")) {
      SCOPED_TRACE(fmt::format("{} {}", to_string(device), setting));
      const ForcedSetting forced(setting);
      f(device, setting);
    }
  }
}

class CrossEntropyWithGradient : public ::testing::TestWithParam<Call> {};

TEST_P(CrossEntropyWithGradient, EqualsTheFormula) {
  const Call& call = GetParam();
  const Expected expected(call);
  for_each_way([&](Device device, const std::string& setting) {
    for (const DType dtype : kFloating) {
      SCOPED_TRACE(to_string(dtype));
      try {
        expect_close(run(call, expected, dtype, device), expected, dtype);
      } catch (const Error& error) {
        // A GPU may be without clusters of so many blocks.
        if (setting.empty() || error.kind() != ErrorKind::kUnsupported) throw;
        fmt::print("{} on {}: {}\n", setting, to_string(device), error.what());
      }
    }
  });
}

// Around what 1, 2, 4, 8 and 16 blocks of a GPU keep in registers, and the vocabularies of real models.
INSTANTIATE_TEST_SUITE_P(Sizes, CrossEntropyWithGradient,
                         ::testing::Values(Call{0, 7}, Call{1, 1}, Call{4, 2}, Call{3, 31},
                                           Call{2, 32}, Call{5, 129}, Call{300, 67}, Call{3, 2047},
                                           Call{3, 2048}, Call{3, 2052}, Call{2, 20479},
                                           Call{2, 20480}, Call{2, 20481}, Call{2, 20484},
                                           Call{3, 32000}, Call{1, 40960}, Call{1, 40964},
                                           Call{3, 50257}, Call{1, 81921}, Call{1, 128256},
                                           Call{3, 151936}, Call{1, 163840}, Call{1, 163844},
                                           Call{1, 262144}, Call{1, 262147}, Call{1, 327684}));
INSTANTIATE_TEST_SUITE_P(Options, CrossEntropyWithGradient,
                         ::testing::Values(Call{8, 1000, 0.1}, Call{8, 1001, 0, true},
                                           Call{8, 24000, 0.1, true, DType::kI32, Lay::kPaddedRows},
                                           Call{8, 50257, 0.2, true, DType::kI32},
                                           Call{8, 45000, 0, false, DType::kI64, Lay::kPaddedRows},
                                           Call{4, 151936, 0.1, true, DType::kI32, Lay::kOffset}));

// Many rows: clusters take several each, some of them ignored.
INSTANTIATE_TEST_SUITE_P(Rows, CrossEntropyWithGradient,
                         ::testing::Values(Call{150, 20500}, Call{1100, 40, 0.1, true}));

TEST(CrossEntropyWithGradient, WithoutAnyProbabilityItIsMinusTheTarget) {
  constexpr std::int64_t V = 20481;
  for_each_way([](Device device, const std::string& setting) {
    Call call{1, V};
    Expected expected(call);
    for (double& value : expected.logits.data) value = -HUGE_VAL;
    expected.targets[0] = 5;
    try {
      const Results got = run(call, expected, DType::kBF16, device);
      EXPECT_EQ(got.loss_sum, HUGE_VAL);
      for (std::int64_t v = 0; v < V; ++v) ASSERT_EQ(got.gradient[v], v == 5 ? -1 : 0) << v;
    } catch (const Error& error) {
      if (setting.empty() || error.kind() != ErrorKind::kUnsupported) throw;
    }
  });
}

TEST(CrossEntropyWithGradient, ATargetOutOfRangeIsNamed) {
  for_each_way([](Device device, const std::string&) {
    const Call call{3, 64};
    Expected expected(call);
    expected.targets[2] = 64;
    const std::string error = test::error_of([&] { run(call, expected, DType::kF32, device); });
    EXPECT_TRUE(error.starts_with("argument: ")) << error;
    EXPECT_NE(error.find("64"), std::string::npos) << error;
  });
}

}  // namespace

}  // namespace wick::testing

#include <array>
#include <cmath>
#include <numbers>
#include <random>

#include "softmetal/mps/kernel.hpp"

// MPSMatrixRandomPhilox and MPSMatrixRandomMTGP32. The first is Philox 4x32-10; the second is a Mersenne twister of
// another kind. Neither gives the numbers of a Mac.

namespace softmetal::mps {
namespace {

constexpr std::uint64_t kDefault = 1, kUniform = 2, kNormal = 3;  // MPSMatrixRandomDistribution

struct Distribution {
  std::uint64_t kind = kDefault;
  float minimum = 0, maximum = 1, mean = 0, deviation = 1;
};
class DistributionState final : public State {
 public:
  explicit DistributionState(const Distribution& what) : distribution(what) {}
  const Distribution distribution;
};

Class* distribution_class = nullptr;
Object* uniform(Object*, float minimum, float maximum) {
  return make_autoreleased<DistributionState>(
      distribution_class, Distribution{.kind = kUniform, .minimum = minimum, .maximum = maximum});
}
Object* truncated(Object*, float mean, float deviation, float minimum, float maximum) {
  return make_autoreleased<DistributionState>(
      distribution_class, Distribution{kNormal, minimum, maximum, mean, deviation});
}
Object* normal(Object* self, float mean, float deviation) {
  return truncated(self, mean, deviation, -HUGE_VALF, HUGE_VALF);
}

/// Philox 4x32-10: four numbers of a counter and a key.
std::array<std::uint32_t, 4> philox(std::uint64_t counter, std::uint64_t key) {
  constexpr std::uint64_t kM0 = 0xD2511F53, kM1 = 0xCD9E8D57;
  constexpr std::uint32_t kW0 = 0x9E3779B9, kW1 = 0xBB67AE85;
  std::array<std::uint32_t, 4> c{static_cast<std::uint32_t>(counter),
                                 static_cast<std::uint32_t>(counter >> 32), 0, 0};
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kM0 * c[0], p1 = kM1 * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += kW0;
    k1 += kW1;
  }
  return c;
}

class RandomState final : public KernelState {
 public:
  RandomState(DeviceState& of, bool counts, Type of_type, std::uint64_t of_seed,
              const Distribution& what)
      : KernelState(of), is_philox(counts), type(of_type), seed(of_seed), distribution(what) {}
  const bool is_philox;
  const Type type;
  const std::uint64_t seed;
  const Distribution distribution;
  std::uint64_t used = 0;  // numbers that were given out
  std::uint64_t batch_start = 0;
  std::uint64_t batch_size = kAll;
};
using R = RandomState;

template <bool Philox>
Object* init_distributed(Object* self, DeviceState& device, Type type, std::uint64_t seed,
                         DistributionState& distribution) {
  check_type("random numbers", type, {kUInt32, kFloat32});
  if (type == kUInt32) fault("a distribution is for Float32");
  return initialise<R>(self, device, Philox, type, seed, distribution.distribution);
}
template <bool Philox>
Object* init_seeded(Object* self, DeviceState& device, Type type, std::uint64_t seed) {
  check_type("random numbers", type, {kUInt32, kFloat32});
  return initialise<R>(self, device, Philox, type, seed, Distribution{});
}
template <bool Philox>
Object* init_plain(Object* self, DeviceState& device) {
  return init_seeded<Philox>(self, device, kUInt32, 0);
}

/// The numbers [first, first + count) of a stream.
std::vector<std::uint32_t> numbers(bool is_philox, std::uint64_t seed, std::uint64_t first,
                                   std::uint64_t count) {
  std::vector<std::uint32_t> all(count);
  std::mt19937_64 twister(seed);
  if (!is_philox) twister.discard(first);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t n = first + i;
    all[i] = is_philox ? philox(n / 4, seed)[n % 4] : static_cast<std::uint32_t>(twister());
  }
  return all;
}

double to_unit(std::uint32_t bits) { return static_cast<double>(bits >> 8) / (1 << 24); }

/// The inverse of the distribution function, by halving, between the bounds.
double truncated_normal(const Distribution& d, std::uint32_t bits) {
  const auto below = [](double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; };
  constexpr double kFar = 40;  // deviations; nothing is beyond
  double low = std::max((d.minimum - d.mean) / static_cast<double>(d.deviation), -kFar);
  double high = std::min((d.maximum - d.mean) / static_cast<double>(d.deviation), kFar);
  const double wanted = below(low) + to_unit(bits) * (below(high) - below(low));
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (below(middle) < wanted ? low : high) = middle;
  }
  return std::clamp<double>(d.mean + d.deviation * low, d.minimum, d.maximum);
}

double shaped(const Distribution& d, std::uint32_t first, std::uint32_t second) {
  if (d.kind != kNormal) {
    return d.minimum + (static_cast<double>(d.maximum) - d.minimum) * to_unit(first);
  }
  if (std::isfinite(d.minimum) || std::isfinite(d.maximum)) return truncated_normal(d, first);
  // Never the logarithm of 0.
  const double radius = std::sqrt(-2 * std::log(1 - to_unit(first)));
  return d.mean + d.deviation * radius * std::cos(2 * std::numbers::pi * to_unit(second));
}

void encode_random(R& self, CommandBufferState& buffer, DataState& destination) {
  const Layout& l = destination.layout;
  if (l.type != self.type)
    fault("the destination is " + type_name(l.type) + ", not the type that was chosen");
  constexpr std::uint64_t kUnit = 16;
  if (destination.offset != 0 || l.row_bytes % kUnit != 0) {
    fault("the destination must begin at offset 0 and have rows of a multiple of 16 bytes");
  }
  if (self.batch_start >= l.matrices) fault("batchStart is beyond the destination");
  const Batch batch{self.batch_start, std::min(self.batch_size, l.matrices - self.batch_start)};
  const Region to("destination", destination, {}, l.rows, l.columns, batch);
  const std::uint64_t each = self.distribution.kind == kNormal ? 2 : 1;
  const std::uint64_t count = each * to.batches() * to.rows() * to.columns();
  destination.note_write(buffer);
  self.encode(buffer, "MPSMatrixRandom",
              [to, count, each, philox = self.is_philox, seed = self.seed, first = self.used,
               d = self.distribution] {
                const auto all = numbers(philox, seed, first, count);
                std::uint64_t n = 0;
                for (std::uint64_t b = 0; b < to.batches(); ++b) {
                  for (std::uint64_t i = 0; i < to.rows(); ++i) {
                    for (std::uint64_t j = 0; j < to.columns(); ++j, n += each) {
                      to.set(b, i, j,
                             to.type() == kUInt32 ? all[n] : shaped(d, all[n], all[n + each - 1]));
                    }
                  }
                }
              });
  self.used += count;
}
void to_vector(R& self, CommandBufferState& buffer, VectorState& vector) {
  encode_random(self, buffer, vector);
}
void to_matrix(R& self, CommandBufferState& buffer, MatrixState& matrix) {
  encode_random(self, buffer, matrix);
}

}  // namespace

void register_random() {
  distribution_class =
      ClassBuilder<"MPSMatrixRandomDistributionDescriptor">("MPSMatrixRandomDistributionDescriptor",
                                                            "NSObject")
          .class_method<"uniformDistributionDescriptorWithMinimum:maximum:", &uniform>()
          .class_method<"normalDistributionDescriptorWithMean:standardDeviation:", &normal>()
          .class_method<"normalDistributionDescriptorWithMean:standardDeviation:minimum:maximum:",
                        &truncated>()
          .done();
  ClassBuilder<"MPSMatrixRandom">("MPSMatrixRandom", "MPSKernel")
      .method<"setBatchStart:", &set_property<R, &R::batch_start>>()
      .method<"setBatchSize:", &set_property<R, &R::batch_size>>()
      .method<"encodeToCommandBuffer:destinationVector:", &to_vector>()
      .method<"encodeToCommandBuffer:destinationMatrix:", &to_matrix>()
      .done();
  ClassBuilder<"MPSMatrixRandomPhilox">("MPSMatrixRandomPhilox", "MPSMatrixRandom")
      .method<"initWithDevice:", &init_plain<true>>()
      .method<"initWithDevice:destinationDataType:seed:", &init_seeded<true>>()
      .method<"initWithDevice:destinationDataType:seed:distributionDescriptor:",
              &init_distributed<true>>()
      .done();
  ClassBuilder<"MPSMatrixRandomMTGP32">("MPSMatrixRandomMTGP32", "MPSMatrixRandom")
      .method<"initWithDevice:", &init_plain<false>>()
      .method<"initWithDevice:destinationDataType:seed:", &init_seeded<false>>()
      .method<"initWithDevice:destinationDataType:seed:distributionDescriptor:",
              &init_distributed<false>>()
      .done();
}

}  // namespace softmetal::mps

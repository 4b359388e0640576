#include "wick/apple/mps/random.hpp"

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::EncodeChecks;
using detail::make_kernel;
using detail::part;
using detail::Part;
using detail::refuse;

namespace {

constexpr std::string_view kOp = "mps.matrix_random";
constexpr auto kFloat = static_cast<std::uint32_t>(DataType::kFloat32);
constexpr auto kInteger = static_cast<std::uint32_t>(DataType::kUInt32);

void check_deviation(const RandomDistribution& d) {
  const std::string op(kOp);
  detail::check_finite(op, "the mean", d.mean);
  detail::check_finite(op, "the deviation", d.deviation);
  if (!(d.deviation > 0)) {
    refuse(op, "the deviation must be above 0; got " + std::to_string(d.deviation));
  }
}

void check_range(const RandomDistribution& d) {
  const std::string op(kOp);
  detail::check_finite(op, "the minimum", d.minimum);
  detail::check_finite(op, "the maximum", d.maximum);
  if (!(d.minimum < d.maximum)) {
    refuse(op, "the minimum must be below the maximum; got " + std::to_string(d.minimum) + " and " +
                   std::to_string(d.maximum));
  }
}

objc::MPSMatrixRandomDistributionDescriptor* describe(const RandomDistribution& d) {
  using Kind = RandomDistribution::Kind;
  if (d.kind != Kind::kUniform) check_deviation(d);
  if (d.kind != Kind::kNormal) check_range(d);
  switch (d.kind) {
    case Kind::kUniform:
      return messages::uniform_distribution(d.minimum, d.maximum);
    case Kind::kNormal:
      return messages::normal_distribution(d.mean, d.deviation);
    case Kind::kTruncatedNormal:
      return messages::truncated_distribution(d.mean, d.deviation, d.minimum, d.maximum);
  }
  refuse(kOp, std::to_string(static_cast<int>(d.kind)) + " is no kind of distribution");
}

/// The rule of those who use it: a destination begins at 0 and is written 16 bytes at a time.
void check_destination(const EncodeChecks& checks, const Part& to, DataType type) {
  constexpr std::uint64_t kUnit = 16;
  checks.type(to, {type});
  checks.inside(to);
  if (to.offset != 0 || to.layout.row_bytes % kUnit != 0) {
    refuse(kOp,
           "the destination must begin at offset 0 and have rows of a multiple of 16 bytes; "
           "got offset " +
               std::to_string(to.offset) + " and rows of " + std::to_string(to.layout.row_bytes));
  }
}

void place(objc::MPSMatrixRandom* kernel, Batch batch) {
  messages::set_random_batch_start(kernel, batch.start);
  messages::set_random_batch_size(kernel, batch.size);
}

}  // namespace

MatrixRandom::MatrixRandom(const metal::Device& device, Generator generator, std::uint64_t seed)
    : type_(DataType::kUInt32),
      kernel_(generator == Generator::kPhilox
                  ? make_kernel<objc::MPSMatrixRandomPhilox>(messages::init_philox,
                                                             device.object().get(), kInteger, seed)
                  : make_kernel<objc::MPSMatrixRandomMTGP32>(
                        messages::init_mtgp32, device.object().get(), kInteger, seed)) {}

MatrixRandom::MatrixRandom(const metal::Device& device, Generator generator, std::uint64_t seed,
                           const RandomDistribution& distribution)
    : type_(DataType::kFloat32) {
  const AutoreleaseScope scope;
  auto* const shape = describe(distribution);
  objc::MTLDevice* const of = device.object().get();
  kernel_ = generator == Generator::kPhilox
                ? make_kernel<objc::MPSMatrixRandomPhilox>(messages::init_philox_distributed, of,
                                                           kFloat, seed, shape)
                : make_kernel<objc::MPSMatrixRandomMTGP32>(messages::init_mtgp32_distributed, of,
                                                           kFloat, seed, shape);
}

void MatrixRandom::encode(metal::CommandBuffer& buffer, const Matrix& destination,
                          Batch batch) const {
  const EncodeChecks checks(kOp, buffer, batch, destination.layout().matrices);
  const MatrixLayout& l = destination.layout();
  check_destination(checks, part("the destination", destination, {}, l.rows, l.columns), type_);
  const AutoreleaseScope scope;
  auto* const kernel = detail::kernel_as<objc::MPSMatrixRandom>(kernel_);
  place(kernel, checks.batch());
  messages::encode_random_matrix(kernel, buffer.object().get(), destination.object().get());
}

void MatrixRandom::encode(metal::CommandBuffer& buffer, const Vector& destination,
                          Batch batch) const {
  const EncodeChecks checks(kOp, buffer, batch, destination.layout().vectors);
  check_destination(checks, part("the destination", destination, 0, destination.layout().length),
                    type_);
  const AutoreleaseScope scope;
  auto* const kernel = detail::kernel_as<objc::MPSMatrixRandom>(kernel_);
  place(kernel, checks.batch());
  messages::encode_random_vector(kernel, buffer.object().get(), destination.object().get());
}

}  // namespace wick::apple::mps

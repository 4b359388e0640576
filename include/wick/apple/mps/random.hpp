#pragma once

#include <cstdint>
#include <optional>

#include "wick/apple/mps/matrix.hpp"

/// Random numbers.
namespace wick::apple::mps {

/// How random numbers of Float32 are distributed: evenly in [minimum, maximum), normally, or normally with nothing below
/// minimum and above maximum.
struct RandomDistribution {
  enum class Kind { kUniform, kNormal, kTruncatedNormal };
  Kind kind = Kind::kUniform;
  float minimum = 0;    ///< not of kNormal
  float maximum = 1;    ///< not of kNormal
  float mean = 0;       ///< not of kUniform; before anything is cut off
  float deviation = 1;  ///< not of kUniform; before anything is cut off
};

/// Fills matrices and vectors with random numbers, by MPSMatrixRandomPhilox or MPSMatrixRandomMTGP32. Each encode() goes
/// on where the last one ended.
class MatrixRandom {
 public:
  /// The generator.
  enum class Generator { kPhilox, kMtgp32 };
  /// Numbers of UInt32, over their whole range.
  MatrixRandom(const metal::Device& device, Generator generator, std::uint64_t seed);
  /// Numbers of Float32. Throws Error kArgument for a distribution that is empty or not finite.
  MatrixRandom(const metal::Device& device, Generator generator, std::uint64_t seed,
               const RandomDistribution& distribution);
  /// Fills a matrix. Throws Error kArgument for another type, for a destination that does not begin at offset 0 or whose
  /// rows are no multiple of 16 bytes, and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, const Matrix& destination, Batch batch = {}) const;
  /// Fills a vector; as above.
  void encode(metal::CommandBuffer& buffer, const Vector& destination, Batch batch = {}) const;

 private:
  DataType type_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps

#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/mps/mps_backend.hpp"
#include "wick/apple/mps.hpp"
#include "wick/layout/dtype.hpp"

// What the calls of MPS have in common: sizes and strides are counted in elements.

namespace wick::mps {

/// Whether kernels of MPS take elements of this dtype.
inline bool is_known_to_mps(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16; }

/// The type of such elements.
inline apple::mps::DataType mps_type(DType dtype) {
  return dtype == DType::kF16 ? apple::mps::DataType::kFloat16 : apple::mps::DataType::kFloat32;
}

/// G matrices whose rows are `step` apart, whole rows from each other.
inline apple::mps::MatrixDescriptor describe_matrix(DType dtype, std::int64_t rows,
                                                    std::int64_t columns, std::int64_t step,
                                                    std::int64_t G = 1,
                                                    std::int64_t batch_stride = 0) {
  const auto bytes = [&](std::int64_t elements) {
    return static_cast<std::uint64_t>(elements) * size_of(dtype);
  };
  return apple::mps::MatrixDescriptor({.rows = static_cast<std::uint64_t>(rows),
                                       .columns = static_cast<std::uint64_t>(columns),
                                       .type = mps_type(dtype),
                                       .row_bytes = bytes(step),
                                       .matrices = static_cast<std::uint64_t>(G),
                                       .matrix_bytes = G == 1 ? 0 : bytes(batch_stride)});
}

/// Matrix, Vector or NDArray, as it lies in the device's memory.
template <class Operand, class Descriptor>
Operand operand_at(MpsBackend& backend, const void* data, const Descriptor& descriptor) {
  const BufferPlace place = backend.memory().find(data);
  return Operand(place.buffer, descriptor, place.offset);
}

/// Calls use(entry) with what make(device) has made for calls with this key: a kernel of MPS, descriptions of its operands.
template <class Entry, class Make, class Use>
void with_mps_kernel(MpsBackend& backend, const KernelCache::Key& key, const Make& make,
                     const Use& use) {
  const apple::AutoreleaseScope scope;
  backend.mps_kernels().with<Entry>(key, [&] { return make(backend.metal()); }, use);
}

}  // namespace wick::mps

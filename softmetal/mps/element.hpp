#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// Elements of matrices, vectors and arrays.

namespace softmetal::mps {

/// MPSDataType: the low 16 bits are the bits of an element.
using Type = std::uint32_t;
inline constexpr Type kFloat32 = 0x10000020, kFloat16 = 0x10000010, kBFloat16 = 0x90000010;
inline constexpr Type kInt8 = 0x20000008, kInt16 = 0x20000010, kInt32 = 0x20000020;
inline constexpr Type kUInt8 = 0x8, kUInt16 = 0x10, kUInt32 = 0x20;

/// "Float32"; the number for a type that is none of the above.
std::string type_name(Type type);
/// Bytes of an element. A fault for a type that is none of the above.
std::uint64_t element_bytes(Type type);
/// An element as a number.
double load(const std::byte* at, Type type);
/// Writes a number, rounded to nearest even for floating types.
void store(std::byte* at, Type type, double value);

}  // namespace softmetal::mps

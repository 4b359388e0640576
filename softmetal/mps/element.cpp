#include "softmetal/mps/element.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "softmetal/objc/root.hpp"

namespace softmetal::mps {
namespace {

constexpr double kHalfOverflow = 65520;  // from here on a number rounds to infinity
constexpr std::uint16_t kHalfInfinity = 0x7C00, kHalfNan = 0x7E00;

double half_to_double(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 0x1F) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

std::uint16_t double_to_half(double value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return kHalfNan;
  const double size = std::abs(value);
  if (size >= kHalfOverflow) return sign | kHalfInfinity;
  if (size == 0) return sign;
  int exponent = 0;
  std::frexp(size, &exponent);  // size is in [2^(exponent - 1), 2^exponent)
  const int unit = std::max(exponent - 11, -24);
  const auto steps = static_cast<std::uint16_t>(std::nearbyint(std::ldexp(size, -unit)));
  // A normal number has 1024 to 2048 steps: the sum makes its exponent one more, or two.
  return static_cast<std::uint16_t>(sign | (((unit + 24) << 10) + steps));
}

double bfloat_to_double(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t double_to_bfloat(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return 0x7FC0;
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

template <class T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <class T>
void write(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

}  // namespace

std::string type_name(Type type) {
  switch (type) {
    case kFloat32:
      return "Float32";
    case kFloat16:
      return "Float16";
    case kBFloat16:
      return "BFloat16";
    case kInt8:
      return "Int8";
    case kInt16:
      return "Int16";
    case kInt32:
      return "Int32";
    case kUInt8:
      return "UInt8";
    case kUInt16:
      return "UInt16";
    case kUInt32:
      return "UInt32";
    default:
      return "type " + std::to_string(type);
  }
}

std::uint64_t element_bytes(Type type) {
  if (type_name(type).starts_with("type")) fault(type_name(type) + " is no type of a matrix");
  return (type & 0xFFFF) / 8;
}

double load(const std::byte* at, Type type) {
  switch (type) {
    case kFloat32:
      return read<float>(at);
    case kFloat16:
      return half_to_double(read<std::uint16_t>(at));
    case kBFloat16:
      return bfloat_to_double(read<std::uint16_t>(at));
    case kInt8:
      return read<std::int8_t>(at);
    case kInt16:
      return read<std::int16_t>(at);
    case kInt32:
      return read<std::int32_t>(at);
    case kUInt8:
      return read<std::uint8_t>(at);
    case kUInt16:
      return read<std::uint16_t>(at);
    default:
      return read<std::uint32_t>(at);
  }
}

void store(std::byte* at, Type type, double value) {
  switch (type) {
    case kFloat32:
      return write(at, static_cast<float>(value));
    case kFloat16:
      return write(at, double_to_half(value));
    case kBFloat16:
      return write(at, double_to_bfloat(value));
    case kInt8:
      return write(at, static_cast<std::int8_t>(value));
    case kInt16:
      return write(at, static_cast<std::int16_t>(value));
    case kInt32:
      return write(at, static_cast<std::int32_t>(value));
    case kUInt8:
      return write(at, static_cast<std::uint8_t>(value));
    case kUInt16:
      return write(at, static_cast<std::uint16_t>(value));
    default:
      return write(at, static_cast<std::uint32_t>(value));
  }
}

}  // namespace softmetal::mps

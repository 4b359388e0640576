#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "wick/apple/objc.hpp"

// Type encodings of Objective-C, computed by the compiler from C++ types.

namespace wick::apple::objc {

struct Class;     // opaque
struct Selector;  // opaque
using UInteger = std::uint64_t;
using Integer = std::int64_t;

/// A string that can be a template argument.
template <std::size_t N>
struct FixedString {
  char text[N + 1]{};

  constexpr FixedString() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): string literals become template arguments by it
  constexpr FixedString(const char (&literal)[N + 1]) {
    for (std::size_t i = 0; i < N; ++i) text[i] = literal[i];
  }
  constexpr std::string_view view() const { return {text, N}; }
};
template <std::size_t N>
FixedString(const char (&)[N]) -> FixedString<N - 1>;

template <std::size_t A, std::size_t B>
constexpr FixedString<A + B> operator+(const FixedString<A>& a, const FixedString<B>& b) {
  FixedString<A + B> joined;
  for (std::size_t i = 0; i < A; ++i) joined.text[i] = a.text[i];
  for (std::size_t i = 0; i < B; ++i) joined.text[A + i] = b.text[i];
  return joined;
}

/// How a block is passed.
struct BlockPointer {
  const void* literal = nullptr;
};

/// Specialised by each struct that is passed by value.
template <class T>
struct StructEncoding;
template <>
struct StructEncoding<BlockPointer> {
  static constexpr auto value = FixedString("@?");
};

template <class T>
constexpr auto encode();

template <class T>
constexpr auto encode_integer() {
  constexpr bool kSigned = std::is_signed_v<T>;
  constexpr const char kCodes[] = "cC\0\0sS\0\0iI\0\0\0\0\0\0qQ";
  FixedString<1> code;
  constexpr std::size_t kAt = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 4 : sizeof(T) == 4 ? 8 : 16;
  code.text[0] = kCodes[kAt + (kSigned ? 0 : 1)];
  return code;
}

template <class Pointee>
constexpr auto encode_pointer() {
  if constexpr (std::is_same_v<Pointee, Class>) {
    return FixedString("#");
  } else if constexpr (std::is_same_v<Pointee, Selector>) {
    return FixedString(":");
  } else if constexpr (std::is_void_v<Pointee>) {
    return FixedString("^v");
  } else if constexpr (std::is_same_v<Pointee, char>) {
    return FixedString("*");
  } else if constexpr (std::is_class_v<Pointee>) {
    static_assert(std::is_base_of_v<Object, Pointee>, "a pointer to no object of Objective-C");
    return FixedString("@");
  } else {
    return FixedString("^") + encode<Pointee>();
  }
}

/// The encoding of T as @encode gives it, without qualifiers.
template <class T>
constexpr auto encode() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_void_v<U>) {
    return FixedString("v");
  } else if constexpr (std::is_same_v<U, bool>) {
    return FixedString("B");
  } else if constexpr (std::is_enum_v<U>) {
    return encode<std::underlying_type_t<U>>();
  } else if constexpr (std::is_same_v<U, float>) {
    return FixedString("f");
  } else if constexpr (std::is_same_v<U, double>) {
    return FixedString("d");
  } else if constexpr (std::is_integral_v<U>) {
    return encode_integer<U>();
  } else if constexpr (std::is_pointer_v<U>) {
    return encode_pointer<std::remove_cv_t<std::remove_pointer_t<U>>>();
  } else {
    return StructEncoding<U>::value;
  }
}

/// The encoding of a method that returns R and takes A, behind the receiver and the selector.
template <class R, class... A>
inline constexpr auto kMethodEncoding = ((encode<R>() + FixedString("@:")) + ... + encode<A>());

/// An encoding as a runtime gives it, without offsets ("v24@0:8Q16") and qualifiers ("r^v").
std::string normalised_encoding(const char* encoding);

}  // namespace wick::apple::objc

#pragma once

#include <cstring>
#include <tuple>
#include <type_traits>

#include "msl_abi.hpp"

// The kernels' side of the run time.

namespace msl::rt {

inline const Runtime* runtime = nullptr;
inline const Local* first_local = nullptr;

struct NotedLocal : Local {
  NotedLocal(std::uint32_t id, std::size_t bytes) : Local{id, bytes, first_local} {
    first_local = this;
  }
};
template <std::uint32_t Id, std::size_t Bytes>
struct LocalOf {
  static inline const NotedLocal noted{Id, Bytes};
};

/// The memory of a threadgroup array: one block for the whole group.
template <std::uint32_t Id, std::size_t Bytes>
inline void* threadgroup_block() {
  return runtime->threadgroup_block(LocalOf<Id, Bytes>::noted.id, Bytes);
}

/// The values of all lanes; those of lanes that took no part are not to be read.
template <class T>
struct LaneValues {
  Lanes lanes;
  T operator[](std::uint32_t lane) const {
    T value;
    std::memcpy(&value, lanes.slots + (lane % kSimdWidth) * kSlotBytes, sizeof(T));
    return value;
  }
  bool active(std::uint32_t lane) const {
    return lane < kSimdWidth && (lanes.active >> lane & 1u) != 0;
  }
};
template <class T>
inline LaneValues<T> exchange(const T& value, int site) {
  static_assert(sizeof(T) <= kSlotBytes);
  return {runtime->exchange(&value, sizeof(T), site)};
}

// ---- from the host's memory to a kernel's parameters
template <class F>
struct Parameters;
template <class T>
struct Type {
  using type = T;
};
template <class... A>
struct Parameters<void (*)(A...)> {
  template <std::size_t I>
  using at = typename std::tuple_element_t<I, std::tuple<Type<A>...>>::type;
};
template <class T>
inline T buffer(void* memory) {
  if constexpr (std::is_reference_v<T>) {
    return *(std::remove_reference_t<T>*)memory;  // a C cast: it alone changes address spaces
  } else {
    return (T)memory;
  }
}
template <class T>
constexpr std::uint32_t min_bytes() {
  if constexpr (std::is_reference_v<T>) {
    return sizeof(T);
  } else {
    return 0;
  }
}
template <class T>
constexpr bool may_write() {
  if constexpr (std::is_reference_v<T>) {
    return !std::is_const_v<std::remove_reference_t<T>>;
  } else {
    return !std::is_const_v<std::remove_pointer_t<T>>;
  }
}
template <class T>
inline T builtin(U3 value) {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_integral_v<U>) {
    return static_cast<U>(value.x);
  } else {
    U r;
    r[0] = value.x;
    r[1] = value.y;
    if constexpr (__builtin_vectorelements(U) > 2) r[2] = value.z;
    return r;
  }
}

// ---- function constants
template <class T>
constexpr std::uint32_t data_type() {  // MTLDataType
  if constexpr (std::is_same_v<T, bool>) return 53;
  if constexpr (std::is_same_v<T, float>) return 3;
  if constexpr (std::is_same_v<T, _Float16>) return 16;
  if constexpr (std::is_same_v<T, int>) return 29;
  if constexpr (std::is_same_v<T, unsigned int>) return 33;
  if constexpr (std::is_same_v<T, short>) return 37;
  if constexpr (std::is_same_v<T, unsigned short>) return 41;
  if constexpr (std::is_same_v<T, char> || std::is_same_v<T, signed char>) return 45;
  if constexpr (std::is_same_v<T, unsigned char>) return 49;
  return 0;
}
inline bool constant_defined(std::uint32_t index) { return runtime->constant_defined(index); }
template <class T>
T unknown();

}  // namespace msl::rt

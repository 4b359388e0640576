#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/check.hpp"
#include "wick/layout/dtype.hpp"

namespace wick::cpu {

/// Calls f(std::type_identity<T>{}) with the element type of a floating dtype.
template <class F>
decltype(auto) switch_floating(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return std::forward<F>(f)(std::type_identity<float>{});
    case DType::kF16:
      return std::forward<F>(f)(std::type_identity<Half>{});
    case DType::kBF16:
      return std::forward<F>(f)(std::type_identity<BFloat16>{});
    default:
      detail::throw_internal("a kernel was given a dtype that is not floating");
  }
}

/// As above for every dtype; bool is stored as a byte of 0 or 1 and comes as bool.
template <class F>
decltype(auto) switch_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kI32:
      return std::forward<F>(f)(std::type_identity<std::int32_t>{});
    case DType::kI64:
      return std::forward<F>(f)(std::type_identity<std::int64_t>{});
    case DType::kU8:
      return std::forward<F>(f)(std::type_identity<std::uint8_t>{});
    case DType::kBool:
      return std::forward<F>(f)(std::type_identity<bool>{});
    default:
      return switch_floating(dtype, std::forward<F>(f));
  }
}

/// As above for the dtypes of indices: i32 and i64.
template <class F>
decltype(auto) switch_index(DType dtype, F&& f) {
  if (dtype == DType::kI32) return std::forward<F>(f)(std::type_identity<std::int32_t>{});
  detail::check(dtype == DType::kI64, "a kernel was given indices that are neither i32 nor i64");
  return std::forward<F>(f)(std::type_identity<std::int64_t>{});
}

}  // namespace wick::cpu

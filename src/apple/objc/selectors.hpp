#pragma once

#include <cstddef>
#include <string_view>

// The table of what may be sent, for checks at compile time.

namespace wick::apple::objc {

/// One method of the SDK.
struct SelectorRow {
  std::string_view owner;
  char kind;  // '-' of instances, '+' of the class
  std::string_view selector;
  std::string_view family;  // "none", or the family whose result comes with a reference
  std::string_view encoding;

  constexpr bool returns_owned() const { return family != "none"; }
};

inline constexpr SelectorRow kSelectorRows[] = {
#define WICK_SELECTOR(owner, kind, selector, family, encoding) \
  {owner, kind, selector, family, encoding},
#include "apple/objc/selectors.def"
#undef WICK_SELECTOR
};

/// Less than zero, zero or more: where a row stands against a method.
constexpr int compare(const SelectorRow& row, std::string_view owner, char kind,
                      std::string_view selector) {
  if (const int order = row.owner.compare(owner); order != 0) return order;
  if (row.kind != kind) return row.kind < kind ? -1 : 1;
  return row.selector.compare(selector);
}

/// The row of a method; null when the SDK has none.
constexpr const SelectorRow* find_selector(std::string_view owner, char kind,
                                           std::string_view selector) {
  std::size_t low = 0;
  std::size_t high = std::size(kSelectorRows);
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    const int order = compare(kSelectorRows[middle], owner, kind, selector);
    if (order == 0) return &kSelectorRows[middle];
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return nullptr;
}

constexpr bool selectors_are_sorted() {
  for (std::size_t i = 1; i < std::size(kSelectorRows); ++i) {
    const SelectorRow& row = kSelectorRows[i];
    if (compare(kSelectorRows[i - 1], row.owner, row.kind, row.selector) >= 0) return false;
  }
  return true;
}
static_assert(selectors_are_sorted());

}  // namespace wick::apple::objc

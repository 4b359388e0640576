#pragma once

#include <any>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <typeindex>
#include <utility>

namespace wick::mps {

/// The kernels of MPS for the calls that a process makes again and again, each with the descriptions of its operands. May
/// be used by several threads.
class KernelCache {
 public:
  /// What is different between two calls of one kind for MPS.
  using Key = std::array<std::int64_t, 16>;

  /// Calls use(entry) with the Entry of `key`, which `make` makes when there is none.
  template <class Entry, class Make, class Use>
  void with(const Key& key, const Make& make, const Use& use) {
    constexpr std::size_t kMostEntries = 1024;  // shapes of a batch vary; a kernel is made quickly
    const std::pair<std::type_index, Key> full_key(typeid(Entry), key);
    const std::lock_guard lock(mutex_);  // kernels of MPS belong to one thread at a time
    auto found = entries_.find(full_key);
    if (found == entries_.end()) {
      if (entries_.size() >= kMostEntries) entries_.clear();
      found = entries_.emplace(full_key, std::any(std::in_place_type<Entry>, make())).first;
    }
    use(*std::any_cast<Entry>(&found->second));
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<std::type_index, Key>, std::any> entries_;
};

}  // namespace wick::mps

#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "backends/mps/way_table.hpp"

namespace wick::mps {

/// The table of a device while it is in use, and an ear for a tuner. May be used by several threads.
class WayChoice {
 public:
  /// Calls by shape: how often each was made.
  using Calls = std::map<CallShape, std::int64_t>;

  /// The way for a call, which is noted while somebody listens.
  std::string_view best(const CallShape& shape);

  /// Takes another table.
  void use(WayTable table);
  /// The table in use.
  WayTable table() const;

  /// Notes calls from now on, and forgets those noted before.
  void listen();
  /// Stops; what was noted.
  Calls heard();

 private:
  void set_idle();

  std::atomic<bool> idle_{true};  // no table, nobody listens
  mutable std::shared_mutex mutex_;
  WayTable table_;
  std::optional<Calls> calls_;
};

}  // namespace wick::mps

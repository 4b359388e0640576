#include "backends/mps/way_choice.hpp"

#include <utility>

namespace wick::mps {

std::string_view WayChoice::best(const CallShape& shape) {
  if (idle_.load(std::memory_order_acquire)) return {};
  {
    const std::shared_lock lock(mutex_);
    if (!calls_) return table_.choose(shape);
  }
  const std::unique_lock lock(mutex_);
  if (calls_) ++(*calls_)[shape];
  return table_.choose(shape);
}

void WayChoice::use(WayTable table) {
  const std::unique_lock lock(mutex_);
  table_ = std::move(table);
  set_idle();
}

WayTable WayChoice::table() const {
  const std::shared_lock lock(mutex_);
  return table_;
}

void WayChoice::listen() {
  const std::unique_lock lock(mutex_);
  calls_.emplace();
  set_idle();
}

WayChoice::Calls WayChoice::heard() {
  const std::unique_lock lock(mutex_);
  Calls calls = std::exchange(calls_, std::nullopt).value_or(Calls());
  set_idle();
  return calls;
}

void WayChoice::set_idle() { idle_.store(table_.empty() && !calls_, std::memory_order_release); }

}  // namespace wick::mps

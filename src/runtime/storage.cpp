#include "runtime/storage.hpp"

#include <algorithm>
#include <utility>

#include "base/platform.hpp"
#include "runtime/backend.hpp"

namespace wick {

namespace {

// The address of tensors without elements: kernels may compute with it, as they must not with a null one, and
// the address sanitizer sees who touches it.
std::byte* address_of_nothing() {
  alignas(64) static std::byte nothing[64];
  detail::poison_memory(nothing, sizeof(nothing));
  return nothing;
}

}  // namespace

Storage::Storage(Private, Device device, std::byte* data, std::size_t bytes)
    : device_(device), data_(bytes == 0 ? address_of_nothing() : data), bytes_(bytes) {}

std::shared_ptr<Storage> Storage::allocate(Device device, std::size_t bytes) {
  Backend& backend = backend_of(device);
  const Block block = backend.allocator().allocate(bytes, current_stream(device));
  auto storage = std::make_shared<Storage>(Private(), device, block.data, bytes);
  storage->backend_ = &backend;
  storage->block_ = block;
  return storage;
}

std::shared_ptr<Storage> Storage::wrap(Device device, std::span<std::byte> memory,
                                       std::shared_ptr<void> owner) {
  auto storage = std::make_shared<Storage>(Private(), device, memory.data(), memory.size());
  storage->owner_ = std::move(owner);
  return storage;
}

Storage::~Storage() {
  if (backend_ == nullptr) return;
  std::vector<std::unique_ptr<Event>> fences;
  for (const auto& stream : other_users_) {
    fences.push_back(backend_->make_event());
    stream->record(*fences.back());
  }
  backend_->allocator().release(block_, std::move(fences));
}

void Storage::note_use() {
  if (backend_ == nullptr) return;
  Stream& stream = current_stream(device_);
  if (stream.id() == block_.stream) return;
  const std::lock_guard lock(users_mutex_);
  const auto same = [&](const auto& user) { return user->id() == stream.id(); };
  if (std::ranges::none_of(other_users_, same)) other_users_.push_back(stream.shared_from_this());
}

}  // namespace wick

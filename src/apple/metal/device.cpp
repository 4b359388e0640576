#include <vector>

#include "apple/metal/metal_messages.hpp"
#include "apple/metal/refuse.hpp"
#include "apple/objc/block.hpp"
#include "apple/objc/foundation.hpp"
#include "wick/apple/metal.hpp"

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): Apple's names
wick::apple::Object* MTLCreateSystemDefaultDevice();
bool MPSSupportsMTLDevice(wick::apple::Object* device);
// NOLINTEND(readability-identifier-naming)
}

namespace wick::apple::metal {

using detail::refuse;

namespace {

constexpr std::size_t kPageBytes = 16384;
constexpr std::uint64_t storage_options(StorageMode mode) {
  return static_cast<std::uint64_t>(mode) << 4;
}

void check_length(std::string_view op, std::size_t length, std::size_t most) {
  if (length == 0) refuse(op, "the length must not be 0");
  if (length > most) {
    refuse(op, "the length must be at most " + std::to_string(most) + " bytes; got " +
                   std::to_string(length));
  }
}

Buffer checked_buffer(Ref<objc::MTLBuffer> made, std::size_t length) {
  if (!made) {
    throw Error(ErrorKind::kOutOfMemory, "metal.buffer",
                "Metal has no memory for " + std::to_string(length) + " bytes");
  }
  return Buffer(std::move(made));
}

objc::NSDictionary* make_macros(const CompileOptions& options,
                                std::vector<Ref<objc::NSString>>& kept) {
  std::vector<Object*> names;
  std::vector<Object*> values;
  for (const auto& [name, value] : options.macros) {
    names.push_back(kept.emplace_back(objc::make_string(name)).get());
    values.push_back(kept.emplace_back(objc::make_string(value)).get());
  }
  return messages::dictionary_with_objects(values.data(), names.data(), names.size());
}

}  // namespace

std::size_t page_size() noexcept { return kPageBytes; }

std::string system_version() { return objc::system_version(); }

std::optional<Device> Device::system_default() {
  const AutoreleaseScope scope;
  auto object =
      Ref<objc::MTLDevice>::adopt(static_cast<objc::MTLDevice*>(MTLCreateSystemDefaultDevice()));
  if (!object) return std::nullopt;
  return Device(std::move(object));
}

std::string Device::name() const {
  const AutoreleaseScope scope;
  return objc::to_std_string(messages::device_name(object_.get()));
}
bool Device::has_unified_memory() const { return messages::has_unified_memory(object_.get()); }
bool Device::supports_family(std::int64_t family) const {
  return messages::supports_family(object_.get(), family);
}
std::size_t Device::max_buffer_length() const { return messages::max_buffer_length(object_.get()); }
std::size_t Device::max_threadgroup_memory() const {
  return messages::max_threadgroup_memory(object_.get());
}
std::size_t Device::allocated_bytes() const { return messages::allocated_size(object_.get()); }
std::size_t Device::recommended_working_set() const {
  return messages::working_set_size(object_.get());
}
bool Device::supports_mps() const { return MPSSupportsMTLDevice(object_.get()); }

CommandQueue Device::queue(std::size_t max_command_buffers) const {
  const AutoreleaseScope scope;
  if (max_command_buffers == 0)
    refuse("metal.queue", "a queue needs room for at least 1 command buffer; got 0");
  auto made = messages::new_queue(object_.get(), max_command_buffers);
  if (!made) throw Error(ErrorKind::kBackend, "metal.queue", "Metal made no command queue");
  return CommandQueue(std::move(made));
}

Buffer Device::buffer(std::size_t length, StorageMode mode) const {
  const AutoreleaseScope scope;
  check_length("metal.buffer", length, max_buffer_length());
  return checked_buffer(messages::new_buffer(object_.get(), length, storage_options(mode)), length);
}

Buffer Device::buffer(std::span<const std::byte> bytes) const {
  const AutoreleaseScope scope;
  check_length("metal.buffer", bytes.size(), max_buffer_length());
  return checked_buffer(messages::new_buffer_with_bytes(object_.get(), bytes.data(), bytes.size(),
                                                        storage_options(StorageMode::kShared)),
                        bytes.size());
}

Buffer Device::wrap_memory(std::span<std::byte> memory, std::function<void()> released) const {
  const AutoreleaseScope scope;
  constexpr std::string_view kOp = "metal.wrap_memory";
  check_length(kOp, memory.size(), max_buffer_length());
  void* address = memory.data();
  std::size_t space = kPageBytes + kPageBytes;
  if (memory.size() % kPageBytes != 0 ||
      std::align(kPageBytes, kPageBytes, address, space) != memory.data()) {
    refuse(kOp, "address and length must be multiples of the page size " +
                    std::to_string(kPageBytes) + "; got a length of " +
                    std::to_string(memory.size()));
  }
  // The block is copied by Metal; without a function there is none to be told.
  std::optional<objc::Block<void(void*, objc::UInteger)>> block;
  if (released) {
    block.emplace([tell = std::move(released)](void*, objc::UInteger) { tell(); });
  }
  auto made = messages::new_buffer_no_copy(object_.get(), memory.data(), memory.size(),
                                           storage_options(StorageMode::kShared),
                                           block ? block->pointer() : objc::BlockPointer{});
  if (!made) {
    throw Error(ErrorKind::kBackend, std::string(kOp),
                "Metal cannot use these " + std::to_string(memory.size()) + " bytes in place");
  }
  return Buffer(std::move(made));
}

Library Device::library(std::string_view source, const CompileOptions& options) const {
  const AutoreleaseScope scope;
  const auto made_options = objc::make<objc::MTLCompileOptions>(messages::init_options);
  objc::MTLCompileOptions* const compile = made_options.get();
  if (objc::responds_to(compile, messages::set_math_mode)) {
    constexpr objc::Integer kSafe = 0, kFast = 2;  // MTLMathMode
    messages::set_math_mode(compile, options.fast_math ? kFast : kSafe);
  } else {
    messages::set_fast_math(compile, options.fast_math);
  }
  std::vector<Ref<objc::NSString>> kept;
  if (!options.macros.empty()) messages::set_macros(compile, make_macros(options, kept));
  const auto text = objc::make_string(source);
  objc::NSError* error = nullptr;
  auto made = messages::new_library(object_.get(), text.get(), compile, &error);
  if (!made)
    throw objc::to_error(error, ErrorKind::kBackend, "metal.library",
                         "the source does not compile");
  return Library(std::move(made));
}

ComputePipeline Device::pipeline(const Function& function) const {
  const AutoreleaseScope scope;
  objc::NSError* error = nullptr;
  auto made = messages::new_pipeline(object_.get(), function.object().get(), &error);
  if (!made) {
    throw objc::to_error(error, ErrorKind::kBackend, "metal.pipeline",
                         "no pipeline for " + function.name());
  }
  return {std::move(made), function.name()};
}

SharedEvent Device::shared_event() const {
  const AutoreleaseScope scope;
  auto made = messages::new_shared_event(object_.get());
  if (!made) throw Error(ErrorKind::kBackend, "metal.shared_event", "Metal made no event");
  return SharedEvent(Ref<objc::MTLEvent>::adopt(std::move(made).leak()));
}

// ---- Buffer

Buffer::Buffer(Ref<objc::MTLBuffer> object)
    : object_(std::move(object)),
      length_(messages::buffer_length(object_.get())),
      storage_mode_(static_cast<StorageMode>(messages::storage_mode(object_.get()))) {}

std::byte* Buffer::contents() const {
  if (storage_mode_ == StorageMode::kPrivate) {
    refuse("metal.contents",
           "a private buffer of " + std::to_string(length_) + " bytes cannot be read by the CPU");
  }
  return static_cast<std::byte*>(messages::buffer_contents(object_.get()));
}

void Buffer::set_label(std::string_view label) {
  const AutoreleaseScope scope;
  const auto text = objc::make_string(label);
  messages::set_resource_label(object_.get(), text.get());
}

// ---- SharedEvent

namespace {
objc::MTLSharedEvent* shared(const Ref<objc::MTLEvent>& event) {
  return static_cast<objc::MTLSharedEvent*>(event.get());
}
}  // namespace

std::uint64_t SharedEvent::value() const { return messages::signaled_value(shared(object_)); }

void SharedEvent::signal(std::uint64_t value) {
  if (const std::uint64_t now = this->value(); value < now) {
    refuse("metal.signal", "the value of an event may only grow; it is " + std::to_string(now) +
                               ", got " + std::to_string(value));
  }
  messages::set_signaled_value(shared(object_), value);
}

bool SharedEvent::wait(std::uint64_t value, std::chrono::milliseconds limit) const {
  if (!objc::responds_to(shared(object_), messages::wait_until_signaled)) {
    throw Error(ErrorKind::kUnsupported, "metal.wait",
                "waiting for an event on the host needs macOS 14.4");
  }
  if (limit.count() < 0) refuse("metal.wait", "the time must not be negative");
  return messages::wait_until_signaled(shared(object_), value,
                                       static_cast<std::uint64_t>(limit.count()));
}

}  // namespace wick::apple::metal

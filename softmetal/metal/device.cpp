#include "softmetal/metal/device.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "apple/objc/structs.hpp"
#include "softmetal/metal/encoder.hpp"
#include "softmetal/metal/gpu.hpp"
#include "softmetal/metal/statistics.hpp"
#include "softmetal/mps/register.hpp"
#include "softmetal/objc/class_builder.hpp"
#include "softmetal/objc/foundation.hpp"
#include "softmetal/softmetal.hpp"

namespace softmetal {
namespace {

using wick::apple::objc::BlockPointer;
using wick::apple::objc::MTLSize;

Class* device_class = nullptr;
Class* buffer_class = nullptr;
constexpr int kPoison = 0xFF;  // a NaN in f32, f16 and bf16; -1 as an integer

// MTLGPUFamily: what an M1 answers.
constexpr std::int64_t kApple1 = 1001, kApple7 = 1007, kMac2 = 2002, kCommon1 = 3001,
                       kCommon3 = 3003;
constexpr std::int64_t kMetal3 = 5001;

void check_options(std::uint64_t options) {
  constexpr std::uint64_t kKnown = 0x3F1;  // cache mode, storage mode, hazard tracking
  if ((options & ~kKnown) != 0) fault("unknown resource options " + std::to_string(options));
  const std::uint64_t mode = storage_mode(options);
  if (mode != kShared && mode != kPrivate) {
    fault("storage mode " + std::to_string(mode) + ": only shared (0) and private (2) are known");
  }
}

void check_length(std::uint64_t length) {
  if (length == 0) fault("a buffer of length 0");
  if (length > limits::kBufferBytes) {
    fault("length " + std::to_string(length) + " is above maxBufferLength " +
          std::to_string(limits::kBufferBytes));
  }
}

/// Null where the memory is not there.
Object* new_buffer(DeviceState& device, std::uint64_t length, std::uint64_t options) {
  check_options(options);
  check_length(length);
  if (fails_now(Failure::kBufferAllocation) || device_is_lost()) return nullptr;
  void* memory = nullptr;
  if (posix_memalign(&memory, limits::kPageBytes, length) != 0) return nullptr;
  std::memset(memory, kPoison, length);
  return make_owned<BufferState>(buffer_class, device, length, options,
                                 static_cast<std::byte*>(memory));
}

Object* new_buffer_with_bytes(DeviceState& device, const void* bytes, std::uint64_t length,
                              std::uint64_t options) {
  if (bytes == nullptr) fault("the bytes may not be NULL");
  Object* made = new_buffer(device, length, options);
  if (made != nullptr) std::memcpy(state<BufferState>(made).bytes(), bytes, length);
  return made;
}

Object* new_buffer_no_copy(DeviceState& device, void* bytes, std::uint64_t length,
                           std::uint64_t options, BlockPointer deallocator) {
  check_options(options);
  check_length(length);
  if (storage_mode(options) == kPrivate) fault("memory of the caller cannot be private");
  if (bytes == nullptr || reinterpret_cast<std::uintptr_t>(bytes) % limits::kPageBytes != 0) {
    fault("the pointer must be a multiple of the page size " + std::to_string(limits::kPageBytes));
  }
  if (length % limits::kPageBytes != 0) {
    fault("the length " + std::to_string(length) + " must be a multiple of the page size " +
          std::to_string(limits::kPageBytes));
  }
  if (fails_now(Failure::kBufferAllocation) || device_is_lost()) return nullptr;
  std::optional<BlockCopy> kept;
  if (deallocator.literal != nullptr) kept.emplace(deallocator);
  return make_owned<BufferState>(buffer_class, device, static_cast<std::byte*>(bytes), length,
                                 options, std::move(kept));
}

bool supports_family(DeviceState&, std::int64_t family) {
  return (family >= kApple1 && family <= kApple7) || family == kMac2 || family == kMetal3 ||
         (family >= kCommon1 && family <= kCommon3);
}
Object* new_queue(DeviceState& device) { return make_queue(device, limits::kCommandBuffers); }
Object* new_queue_with_capacity(DeviceState& device, std::uint64_t capacity) {
  if (capacity == 0) fault("a queue of no command buffers");
  return make_queue(device, capacity);
}
Object* device_name(DeviceState&) { return string_object("Software Metal"); }
std::uint64_t registry_id(DeviceState&) { return 0x50F7; }
MTLSize max_threads(DeviceState&) {
  return {limits::kThreadsPerGroup, limits::kThreadsPerGroup, limits::kThreadsPerGroup};
}
bool has_unified_memory(DeviceState&) { return true; }
std::uint64_t working_set(DeviceState&) { return limits::kBufferBytes; }
std::uint64_t allocated_size(DeviceState&) { return statistics().allocated_bytes; }
std::uint64_t max_buffer_length(DeviceState&) { return limits::kBufferBytes; }
std::uint64_t max_threadgroup_memory(DeviceState&) { return limits::kThreadgroupBytes; }
Object* new_event(DeviceState&) { return make_event(false); }
Object* new_shared_event(DeviceState&) { return make_event(true); }

// ---- MTLBuffer and MTLResource
std::uint64_t buffer_length(BufferState& self) { return self.length; }
void* buffer_contents(BufferState& self) {
  if (self.is_private()) fault("contents of a private buffer: the CPU cannot read it");
  return self.bytes();
}
Object* buffer_label(BufferState& self) { return string_object(self.label); }
void set_buffer_label(BufferState& self, StringState* label) {
  self.label = label == nullptr ? std::string() : label->text();
}
Object* buffer_device(BufferState& self) { return self.device.object(); }
std::uint64_t buffer_storage_mode(BufferState& self) { return storage_mode(self.options); }
std::uint64_t buffer_options(BufferState& self) { return self.options; }
std::uint64_t buffer_allocated(BufferState& self) {
  return (self.length + limits::kPageBytes - 1) / limits::kPageBytes * limits::kPageBytes;
}
std::uint64_t buffer_gpu_address(BufferState& self) {
  return reinterpret_cast<std::uint64_t>(self.bytes());
}

}  // namespace

BufferState::BufferState(DeviceState& of, std::uint64_t bytes, std::uint64_t how, std::byte* memory)
    : device(&of), length(bytes), options(how), memory_(memory), owned_(true) {
  ++statistics().buffers;
  statistics().allocated_bytes += length;
}
BufferState::BufferState(DeviceState& of, std::byte* memory, std::uint64_t bytes, std::uint64_t how,
                         std::optional<BlockCopy> deallocator)
    : device(&of),
      length(bytes),
      options(how),
      memory_(memory),
      owned_(false),
      deallocator_(std::move(deallocator)) {
  ++statistics().buffers;
}
BufferState::~BufferState() {
  if (owned_) {
    statistics().allocated_bytes -= length;
    std::free(memory_);
  }
  if (deallocator_) deallocator_->call(static_cast<void*>(memory_), length);
}

void BufferState::check_range(const char* what, std::uint64_t offset, std::uint64_t count) const {
  if (offset > length || count > length - offset) {
    fault(std::string(what) + ": bytes " + std::to_string(offset) + " to " +
          std::to_string(offset + count) + " are beyond a buffer of " + std::to_string(length));
  }
}

Object* new_private_buffer(DeviceState& device, std::uint64_t length) {
  return new_buffer(device, length, kPrivate << 4);
}

DeviceState& system_device() {
  static DeviceState& only = state<DeviceState>(make_owned<DeviceState>(device_class));
  return only;
}

void register_device() {
  ClassBuilder<"MTLDevice"> device("SoftmetalDevice", "NSObject");
  register_shader_methods(device);
  device_class =
      device.method<"name", &device_name>()
          .method<"registryID", &registry_id>()
          .method<"maxThreadsPerThreadgroup", &max_threads>()
          .method<"hasUnifiedMemory", &has_unified_memory>()
          .method<"recommendedMaxWorkingSetSize", &working_set>()
          .method<"currentAllocatedSize", &allocated_size>()
          .method<"maxBufferLength", &max_buffer_length>()
          .method<"maxThreadgroupMemoryLength", &max_threadgroup_memory>()
          .method<"supportsFamily:", &supports_family>()
          .method<"newCommandQueue", &new_queue>()
          .method<"newCommandQueueWithMaxCommandBufferCount:", &new_queue_with_capacity>()
          .method<"newBufferWithLength:options:", &new_buffer>()
          .method<"newBufferWithBytes:length:options:", &new_buffer_with_bytes>()
          .method<"newBufferWithBytesNoCopy:length:options:deallocator:", &new_buffer_no_copy>()
          .method<"newEvent", &new_event>()
          .method<"newSharedEvent", &new_shared_event>()
          .done();
  buffer_class = ClassBuilder<"MTLBuffer", "MTLResource">("SoftmetalBuffer", "NSObject")
                     .method<"length", &buffer_length>()
                     .method<"contents", &buffer_contents>()
                     .method<"gpuAddress", &buffer_gpu_address>()
                     .method<"label", &buffer_label>()
                     .method<"setLabel:", &set_buffer_label>()
                     .method<"device", &buffer_device>()
                     .method<"storageMode", &buffer_storage_mode>()
                     .method<"resourceOptions", &buffer_options>()
                     .method<"allocatedSize", &buffer_allocated>()
                     .done();
}

namespace {
void load() {
  static std::once_flag once;
  std::call_once(once, [] {
    register_root();
    register_foundation();
    register_shaders();
    register_device();
    register_commands();
    register_encoders();
    register_mps();
  });
}
}  // namespace

}  // namespace softmetal

extern "C" {
SOFTMETAL_API void softmetal_load() { softmetal::load(); }
SOFTMETAL_API softmetal::Class* softmetal_class_of(const char* protocol) {
  softmetal::load();
  return softmetal::detail::class_of_owner(protocol);
}
SOFTMETAL_API softmetal::Object* MTLCreateSystemDefaultDevice() {
  softmetal::load();
  return softmetal::retain(softmetal::system_device().self());
}
SOFTMETAL_API bool MPSSupportsMTLDevice(softmetal::Object* device) {
  return device == softmetal::system_device().self();
}
}

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/apple/objc.hpp"

/// The compute side of Metal. Each object owns what it stands for; a copy shares it. A call that Metal would end the
/// process for throws Error with the numbers in it instead. No function needs an AutoreleaseScope around it.
///
/// Devices, queues, libraries, functions, pipelines and events may be used by several threads at once; a command buffer
/// and its encoders by one at a time.
namespace wick::apple::metal {

/// Extents of a grid or a threadgroup.
struct Size {
  std::uint64_t width = 1;
  std::uint64_t height = 1;
  std::uint64_t depth = 1;
};

/// Where the bytes of a buffer may be reached.
enum class StorageMode : std::uint64_t { kShared = 0, kPrivate = 2 };

/// Where a command buffer is in its life, as Metal numbers it.
enum class CommandBufferStatus : std::uint64_t {
  kNotEnqueued,
  kEnqueued,
  kCommitted,
  kScheduled,
  kCompleted,
  kError
};

/// Memory of the GPU.
class Buffer {
 public:
  /// Takes over an object that newBuffer… made.
  explicit Buffer(Ref<objc::MTLBuffer> object);
  /// Bytes that it has.
  std::size_t length() const noexcept { return length_; }
  /// Where its bytes may be reached.
  StorageMode storage_mode() const noexcept { return storage_mode_; }
  /// Its bytes. What the GPU writes is there once the command buffer has completed. Throws Error kArgument when private.
  std::byte* contents() const;
  /// The bytes as a span; as contents().
  std::span<std::byte> bytes() const { return {contents(), length_}; }
  /// A name for Metal's tools.
  void set_label(std::string_view label);
  /// The object itself.
  const Ref<objc::MTLBuffer>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLBuffer> object_;
  std::size_t length_;
  StorageMode storage_mode_;
};

/// A number that command buffers and the host signal and wait for. Values may only grow.
class SharedEvent {
 public:
  /// Takes over an object that newSharedEvent made.
  explicit SharedEvent(Ref<objc::MTLEvent> object) : object_(std::move(object)) {}
  /// The value now.
  std::uint64_t value() const;
  /// Signals from the host. Throws Error kArgument when the value is below the one it has.
  void signal(std::uint64_t value);
  /// Waits on the host for the value; false when the time is over first. Throws Error kUnsupported before macOS 14.4.
  bool wait(std::uint64_t value, std::chrono::milliseconds limit) const;
  /// The object itself.
  const Ref<objc::MTLEvent>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLEvent> object_;
};

/// Values of function constants, by index.
class FunctionConstants {
 public:
  /// No values.
  FunctionConstants();
  /// Sets `constant bool name [[function_constant(index)]]`.
  FunctionConstants& set(std::uint32_t index, bool value);
  /// Sets one of type int.
  FunctionConstants& set(std::uint32_t index, std::int32_t value);
  /// Sets one of type uint.
  FunctionConstants& set(std::uint32_t index, std::uint32_t value);
  /// Sets one of type float.
  FunctionConstants& set(std::uint32_t index, float value);
  /// The object itself.
  const Ref<objc::MTLFunctionConstantValues>& object() const noexcept { return object_; }

 private:
  FunctionConstants& set_bytes(std::uint32_t index, const void* bytes, std::uint64_t type);
  Ref<objc::MTLFunctionConstantValues> object_;
};

/// A kernel of a library, with its function constants.
class Function {
 public:
  /// Takes over an object that newFunction… made.
  explicit Function(Ref<objc::MTLFunction> object) : object_(std::move(object)) {}
  /// Its name.
  std::string name() const;
  /// The object itself.
  const Ref<objc::MTLFunction>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLFunction> object_;
};

/// Kernels compiled from source.
class Library {
 public:
  /// Takes over an object that newLibrary… made.
  explicit Library(Ref<objc::MTLLibrary> object) : object_(std::move(object)) {}
  /// The names of its kernels.
  std::vector<std::string> function_names() const;
  /// A kernel. Throws Error kArgument when there is none of this name.
  Function function(std::string_view name) const;
  /// A kernel with values for its function constants. Throws Error kArgument when there is none of this name, a value is of
  /// another type, or one is missing.
  Function function(std::string_view name, const FunctionConstants& constants) const;
  /// The object itself.
  const Ref<objc::MTLLibrary>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLLibrary> object_;
};

/// A kernel that is ready to run.
class ComputePipeline {
 public:
  /// Takes over an object that newComputePipelineState… made; `name` is its kernel's.
  ComputePipeline(Ref<objc::MTLComputePipelineState> object, std::string name);
  /// The kernel's name, for errors.
  const std::string& name() const noexcept { return name_; }
  /// The largest threadgroup that it can run in.
  std::uint64_t max_threads_per_threadgroup() const noexcept { return max_threads_; }
  /// Threads of a simdgroup.
  std::uint64_t simd_width() const noexcept { return simd_width_; }
  /// Bytes of threadgroup memory that the kernel declares.
  std::uint64_t static_threadgroup_bytes() const noexcept { return static_threadgroup_bytes_; }
  /// The object itself.
  const Ref<objc::MTLComputePipelineState>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLComputePipelineState> object_;
  std::string name_;
  std::uint64_t max_threads_;
  std::uint64_t simd_width_;
  std::uint64_t static_threadgroup_bytes_;
};

namespace detail {
struct CommandBufferState;
class OpenEncoder;
}  // namespace detail

/// Encodes kernels. It ends with end() or with its destructor; a command buffer has one encoder open at a time.
class ComputeEncoder {
 public:
  /// Takes over the encoding; nothing may be encoded with `other` afterwards.
  ComputeEncoder(ComputeEncoder&& other) noexcept;
  /// Ends its own encoding and takes over that of `other`.
  ComputeEncoder& operator=(ComputeEncoder&& other) noexcept;
  ComputeEncoder(const ComputeEncoder&) = delete;
  ComputeEncoder& operator=(const ComputeEncoder&) = delete;
  ~ComputeEncoder();

  /// Chooses what the next dispatches run.
  void set_pipeline(const ComputePipeline& pipeline);
  /// Binds a buffer from a byte offset on. Throws Error kArgument for an index above 30 or an offset beyond it.
  void set_buffer(const Buffer& buffer, std::size_t offset, std::uint32_t index);
  /// Binds a copy of 1 to 4,096 bytes. Throws Error kArgument for more or none, or an index above 30.
  void set_bytes(std::span<const std::byte> bytes, std::uint32_t index);
  /// Gives [[threadgroup(index)]] its length. Throws Error kArgument unless it is a multiple of 16, at most 32,768.
  void set_threadgroup_memory(std::size_t bytes, std::uint32_t index);
  /// Runs a grid of whole threadgroups. Throws Error kArgument without a pipeline, for a size of 0, for more threads than
  /// the pipeline can run, or when the threadgroup memory is more than the device has.
  void dispatch_threadgroups(Size groups, Size threads_per_group);
  /// Runs a grid of threads, whose last threadgroups may be smaller; as above.
  void dispatch_threads(Size threads, Size threads_per_group);
  /// In a concurrent encoder: what comes later sees what buffers held when this was reached.
  void barrier();
  /// Ends it. Nothing may be encoded afterwards.
  void end();

 private:
  friend class CommandBuffer;
  explicit ComputeEncoder(std::unique_ptr<detail::OpenEncoder> open);
  void check_dispatch(const char* what, Size grid, Size threads_per_group) const;
  std::unique_ptr<detail::OpenEncoder> open_;
  std::optional<ComputePipeline> pipeline_;
  std::uint64_t threadgroup_bytes_[31]{};
};

/// Encodes copies and fills; as ComputeEncoder.
class BlitEncoder {
 public:
  /// Takes over the encoding; nothing may be encoded with `other` afterwards.
  BlitEncoder(BlitEncoder&& other) noexcept;
  /// Ends its own encoding and takes over that of `other`.
  BlitEncoder& operator=(BlitEncoder&& other) noexcept;
  BlitEncoder(const BlitEncoder&) = delete;
  BlitEncoder& operator=(const BlitEncoder&) = delete;
  ~BlitEncoder();

  /// Sets bytes. Throws Error kArgument for a range that is empty or beyond the buffer.
  void fill(const Buffer& buffer, std::size_t offset, std::size_t bytes, std::uint8_t value);
  /// Copies bytes. Throws Error kArgument unless offsets and size are multiples of 4 inside of both buffers, and when
  /// the ranges overlap.
  void copy(const Buffer& source, std::size_t source_offset, const Buffer& destination,
            std::size_t destination_offset, std::size_t bytes);
  /// Ends it.
  void end();

 private:
  friend class CommandBuffer;
  explicit BlitEncoder(std::unique_ptr<detail::OpenEncoder> open);
  std::unique_ptr<detail::OpenEncoder> open_;
};

/// Work for the GPU: filled, committed once, then waited for or forgotten.
class CommandBuffer {
 public:
  /// Takes an object that a queue made.
  explicit CommandBuffer(Ref<objc::MTLCommandBuffer> object);
  CommandBuffer(CommandBuffer&&) noexcept = default;
  CommandBuffer& operator=(CommandBuffer&&) noexcept = default;
  CommandBuffer(const CommandBuffer&) = delete;
  CommandBuffer& operator=(const CommandBuffer&) = delete;
  ~CommandBuffer();

  /// Begins to encode kernels, which run one after another, or beside each other between barriers when `concurrent`.
  /// Throws Error kArgument while an encoder is open or after commit().
  ComputeEncoder compute_encoder(bool concurrent = false);
  /// Begins to encode copies; as above.
  BlitEncoder blit_encoder();
  /// Lets the GPU signal an event when it gets here; as above.
  void signal(const SharedEvent& event, std::uint64_t value);
  /// Lets the GPU wait for an event; as above.
  void wait_for(const SharedEvent& event, std::uint64_t value);
  /// Called on a thread of Metal's when the work has ended, before wait() returns. It must neither throw nor wait(). Throws
  /// Error kArgument after commit().
  void on_completed(std::function<void(CommandBufferStatus)> handler);
  /// A name for Metal's tools.
  void set_label(std::string_view label);
  /// Takes the buffer's place in the queue's order without committing it.
  void enqueue();
  /// Hands the work to the GPU. Throws Error kArgument when that was done before or an encoder is open.
  void commit();
  /// Waits until the work has ended. Throws Error kBackend with Metal's reason when it failed, Error kArgument before
  /// commit() and inside of a handler.
  void wait();
  /// Where it is in its life. Throws Error kArgument of one that was moved from.
  CommandBufferStatus status() const;
  /// Seconds that the GPU took; 0 until it has ended. As above.
  double gpu_seconds() const;
  /// Throws Error kArgument, naming `what`, unless work may be encoded now.
  void check_encodable(std::string_view what) const;
  /// The object itself; not of one that was moved from.
  const Ref<objc::MTLCommandBuffer>& object() const noexcept;

 private:
  void check_there(std::string_view what) const;
  std::shared_ptr<detail::CommandBufferState> state_;
};

/// An ordered queue of command buffers.
class CommandQueue {
 public:
  /// Takes over an object that newCommandQueue… made.
  explicit CommandQueue(Ref<objc::MTLCommandQueue> object) : object_(std::move(object)) {}
  /// A new command buffer; waits while as many as the queue has room for have not ended. Throws Error kBackend when Metal
  /// has none.
  CommandBuffer command_buffer() const;
  /// The object itself.
  const Ref<objc::MTLCommandQueue>& object() const noexcept { return object_; }

 private:
  Ref<objc::MTLCommandQueue> object_;
};

/// How a library is compiled.
struct CompileOptions {
  bool fast_math =
      true;  ///< off: NaN and infinity are kept, and exp, division and others are exact to rounding
  std::vector<std::pair<std::string, std::string>> macros;  ///< as #define
};

/// A GPU.
class Device {
 public:
  /// The system's GPU; nothing when there is none.
  static std::optional<Device> system_default();

  /// Its name.
  std::string name() const;
  /// Whether it shares memory with the CPU.
  bool has_unified_memory() const;
  /// Whether it belongs to a family of GPUs, by Metal's number: Apple7 is 1007, Metal3 is 5001.
  bool supports_family(std::int64_t family) const;
  /// The largest buffer in bytes.
  std::size_t max_buffer_length() const;
  /// Bytes of threadgroup memory that a kernel may use.
  std::size_t max_threadgroup_memory() const;
  /// Bytes that buffers of this process use.
  std::size_t allocated_bytes() const;
  /// Bytes that the process should not go beyond.
  std::size_t recommended_working_set() const;
  /// Whether Metal Performance Shaders can run on it.
  bool supports_mps() const;

  /// A new queue, with room for this many command buffers that have not ended. Throws Error kBackend when Metal has none,
  /// Error kArgument for none.
  CommandQueue queue(std::size_t max_command_buffers = 64) const;
  /// A new buffer whose content is undefined. Throws Error kArgument for a length of 0 or above max_buffer_length(),
  /// Error kOutOfMemory when there is no memory.
  Buffer buffer(std::size_t length, StorageMode mode = StorageMode::kShared) const;
  /// A new shared buffer with a copy of these bytes; as above.
  Buffer buffer(std::span<const std::byte> bytes) const;
  /// A shared buffer on memory of the caller, copied nowhere; `released` is called when Metal no longer uses it. Throws
  /// Error kArgument unless address and length are multiples of page_size(), Error kBackend when Metal refuses.
  Buffer wrap_memory(std::span<std::byte> memory, std::function<void()> released = {}) const;
  /// Compiles Metal source. Throws Error kBackend with the compiler's text.
  Library library(std::string_view source, const CompileOptions& options = {}) const;
  /// Makes a kernel ready to run. Throws Error kBackend with Metal's reason.
  ComputePipeline pipeline(const Function& function) const;
  /// A new event of value 0.
  SharedEvent shared_event() const;
  /// The object itself.
  const Ref<objc::MTLDevice>& object() const noexcept { return object_; }

 private:
  explicit Device(Ref<objc::MTLDevice> object) : object_(std::move(object)) {}
  Ref<objc::MTLDevice> object_;
};

/// The version of the system, and with it of its drivers, for people: "Version 14.4 (Build 23E214)".
std::string system_version();

/// Bytes of a page of memory: 16,384 on Apple silicon and on softmetal.
std::size_t page_size() noexcept;

}  // namespace wick::apple::metal

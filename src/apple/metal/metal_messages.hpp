#pragma once

#include "apple/objc/message.hpp"
#include "apple/objc/structs.hpp"

// The messages of Metal that Wick sends.

namespace wick::apple::metal::messages {

using objc::BlockPointer;
using objc::Integer;
using objc::Message;
using objc::Owned;
using objc::UInteger;
using namespace wick::apple::
    objc;  // NOLINT(google-build-using-namespace): the types of Apple's headers

// NOLINTBEGIN(readability-identifier-naming): messages are objects that are called like functions

// MTLDevice
inline constexpr Message<MTLDevice, '-', "name", NSString*()> device_name;
inline constexpr Message<MTLDevice, '-', "hasUnifiedMemory", bool()> has_unified_memory;
inline constexpr Message<MTLDevice, '-', "supportsFamily:", bool(Integer)> supports_family;
inline constexpr Message<MTLDevice, '-', "maxBufferLength", UInteger()> max_buffer_length;
inline constexpr Message<MTLDevice, '-', "maxThreadgroupMemoryLength", UInteger()>
    max_threadgroup_memory;
inline constexpr Message<MTLDevice, '-', "currentAllocatedSize", UInteger()> allocated_size;
inline constexpr Message<MTLDevice, '-', "recommendedMaxWorkingSetSize", UInteger()>
    working_set_size;
inline constexpr Message<MTLDevice, '-', "newCommandQueueWithMaxCommandBufferCount:",
                         Owned<MTLCommandQueue>(UInteger)>
    new_queue;
inline constexpr Message<MTLDevice, '-',
                         "newBufferWithLength:options:", Owned<MTLBuffer>(UInteger, UInteger)>
    new_buffer;
inline constexpr Message<MTLDevice, '-', "newBufferWithBytes:length:options:",
                         Owned<MTLBuffer>(const void*, UInteger, UInteger)>
    new_buffer_with_bytes;
inline constexpr Message<MTLDevice, '-', "newBufferWithBytesNoCopy:length:options:deallocator:",
                         Owned<MTLBuffer>(void*, UInteger, UInteger, BlockPointer)>
    new_buffer_no_copy;
inline constexpr Message<MTLDevice, '-', "newLibraryWithSource:options:error:",
                         Owned<MTLLibrary>(NSString*, MTLCompileOptions*, NSError**)>
    new_library;
inline constexpr Message<MTLDevice, '-', "newComputePipelineStateWithFunction:error:",
                         Owned<MTLComputePipelineState>(MTLFunction*, NSError**)>
    new_pipeline;
inline constexpr Message<MTLDevice, '-', "newSharedEvent", Owned<MTLSharedEvent>()>
    new_shared_event;

// MTLCompileOptions, MTLFunctionConstantValues
inline constexpr Message<MTLCompileOptions, '-', "init", Owned<MTLCompileOptions>()> init_options;
inline constexpr Message<MTLCompileOptions, '-', "setMathMode:", void(Integer)> set_math_mode;
inline constexpr Message<MTLCompileOptions, '-', "setFastMathEnabled:", void(bool)> set_fast_math;
inline constexpr Message<MTLCompileOptions, '-', "setPreprocessorMacros:", void(NSDictionary*)>
    set_macros;
inline constexpr Message<MTLFunctionConstantValues, '-', "init", Owned<MTLFunctionConstantValues>()>
    init_constants;
inline constexpr Message<MTLFunctionConstantValues, '-',
                         "setConstantValue:type:atIndex:", void(const void*, UInteger, UInteger)>
    set_constant;

// MTLLibrary, MTLFunction, MTLComputePipelineState
inline constexpr Message<MTLLibrary, '-', "functionNames", NSArray*()> function_names;
inline constexpr Message<MTLLibrary, '-', "newFunctionWithName:constantValues:error:",
                         Owned<MTLFunction>(NSString*, MTLFunctionConstantValues*, NSError**)>
    new_function;
inline constexpr Message<MTLFunction, '-', "name", NSString*()> function_name;
inline constexpr Message<MTLComputePipelineState, '-', "maxTotalThreadsPerThreadgroup", UInteger()>
    max_threads;
inline constexpr Message<MTLComputePipelineState, '-', "threadExecutionWidth", UInteger()>
    simd_width;
inline constexpr Message<MTLComputePipelineState, '-', "staticThreadgroupMemoryLength", UInteger()>
    static_threadgroup_memory;

// MTLBuffer, MTLEvent
inline constexpr Message<MTLBuffer, '-', "length", UInteger()> buffer_length;
inline constexpr Message<MTLBuffer, '-', "contents", void*()> buffer_contents;
inline constexpr Message<MTLResource, '-', "storageMode", UInteger()> storage_mode;
inline constexpr Message<MTLResource, '-', "setLabel:", void(NSString*)> set_resource_label;
inline constexpr Message<MTLSharedEvent, '-', "signaledValue", UInteger()> signaled_value;
inline constexpr Message<MTLSharedEvent, '-', "setSignaledValue:", void(UInteger)>
    set_signaled_value;
inline constexpr Message<MTLSharedEvent, '-',
                         "waitUntilSignaledValue:timeoutMS:", bool(UInteger, UInteger)>
    wait_until_signaled;

// MTLCommandQueue, MTLCommandBuffer
inline constexpr Message<MTLCommandQueue, '-', "commandBuffer", MTLCommandBuffer*()> command_buffer;
inline constexpr Message<MTLCommandBuffer, '-', "setLabel:", void(NSString*)> set_buffer_label;
inline constexpr Message<MTLCommandBuffer, '-', "enqueue", void()> enqueue;
inline constexpr Message<MTLCommandBuffer, '-', "commit", void()> commit;
inline constexpr Message<MTLCommandBuffer, '-', "waitUntilCompleted", void()> wait_until_completed;
inline constexpr Message<MTLCommandBuffer, '-', "status", UInteger()> buffer_status;
inline constexpr Message<MTLCommandBuffer, '-', "error", NSError*()> buffer_error;
inline constexpr Message<MTLCommandBuffer, '-', "GPUStartTime", double()> gpu_start_time;
inline constexpr Message<MTLCommandBuffer, '-', "GPUEndTime", double()> gpu_end_time;
inline constexpr Message<MTLCommandBuffer, '-', "addCompletedHandler:", void(BlockPointer)>
    add_completed_handler;
inline constexpr Message<MTLCommandBuffer, '-', "computeCommandEncoderWithDispatchType:",
                         MTLComputeCommandEncoder*(UInteger)>
    compute_encoder;
inline constexpr Message<MTLCommandBuffer, '-', "blitCommandEncoder", MTLBlitCommandEncoder*()>
    blit_encoder;
inline constexpr Message<MTLCommandBuffer, '-',
                         "encodeSignalEvent:value:", void(MTLEvent*, UInteger)>
    encode_signal;
inline constexpr Message<MTLCommandBuffer, '-',
                         "encodeWaitForEvent:value:", void(MTLEvent*, UInteger)>
    encode_wait;

// Encoders
inline constexpr Message<MTLCommandEncoder, '-', "endEncoding", void()> end_encoding;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "setComputePipelineState:", void(MTLComputePipelineState*)>
    set_pipeline;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "setBuffer:offset:atIndex:", void(MTLBuffer*, UInteger, UInteger)>
    set_buffer;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "setBytes:length:atIndex:", void(const void*, UInteger, UInteger)>
    set_bytes;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "setThreadgroupMemoryLength:atIndex:", void(UInteger, UInteger)>
    set_threadgroup_memory;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "dispatchThreadgroups:threadsPerThreadgroup:", void(MTLSize, MTLSize)>
    dispatch_threadgroups;
inline constexpr Message<MTLComputeCommandEncoder, '-',
                         "dispatchThreads:threadsPerThreadgroup:", void(MTLSize, MTLSize)>
    dispatch_threads;
inline constexpr Message<MTLComputeCommandEncoder, '-', "memoryBarrierWithScope:", void(UInteger)>
    memory_barrier;
inline constexpr Message<MTLBlitCommandEncoder, '-',
                         "fillBuffer:range:value:", void(MTLBuffer*, NSRange, std::uint8_t)>
    fill_buffer;
inline constexpr Message<MTLBlitCommandEncoder, '-',
                         "copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:",
                         void(MTLBuffer*, UInteger, MTLBuffer*, UInteger, UInteger)>
    copy_buffer;

// Foundation
inline constexpr Message<NSArray, '-', "count", UInteger()> array_count;
inline constexpr Message<NSArray, '-', "objectAtIndex:", NSObject*(UInteger)> object_at;
inline constexpr Message<NSDictionary, '+', "dictionaryWithObjects:forKeys:count:",
                         NSDictionary*(Object* const*, Object* const*, UInteger)>
    dictionary_with_objects;

// NOLINTEND(readability-identifier-naming)

}  // namespace wick::apple::metal::messages

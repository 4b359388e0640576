// Each case is a mistake that must not compile; run.py has the reason that the compiler must give. Without a case the
// file is right.
#include "apple/objc/message.hpp"

namespace wick::apple::objc {
namespace {

#if WICK_CASE == 0
constexpr Message<MTLCommandBuffer, '-', "commit", void()> message;
void use(MTLCommandBuffer* buffer) { message(buffer); }
#elif WICK_CASE == 1   // a misspelt selector
constexpr Message<MTLCommandBuffer, '-', "comit", void()> message;
void use(MTLCommandBuffer* buffer) { message(buffer); }
#elif WICK_CASE == 2   // too few arguments for the colons
constexpr Message<MTLComputeCommandEncoder, '-',
                  "setBuffer:offset:atIndex:", void(MTLBuffer*, UInteger)>
    message;
void use(MTLComputeCommandEncoder* encoder) { message(encoder, nullptr, 0); }
#elif WICK_CASE == 3   // an argument of another width
constexpr Message<MTLComputeCommandEncoder, '-',
                  "setBuffer:offset:atIndex:", void(MTLBuffer*, std::uint32_t, UInteger)>
    message;
void use(MTLComputeCommandEncoder* encoder) { message(encoder, nullptr, 0, 0); }
#elif WICK_CASE == 4   // a reference that would leak
constexpr Message<MTLDevice, '-', "newCommandQueue", MTLCommandQueue*()> message;
void use(MTLDevice* device) { message(device); }
#elif WICK_CASE == 5   // a reference that is not ours to release
constexpr Message<MTLCommandQueue, '-', "commandBuffer", Owned<MTLCommandBuffer>()> message;
void use(MTLCommandQueue* queue) { message(queue); }
#elif WICK_CASE == 6   // another result
constexpr Message<MTLBuffer, '-', "length", std::uint32_t()> message;
void use(MTLBuffer* buffer) { message(buffer); }
#elif WICK_CASE == 7   // a receiver that does not have it
constexpr Message<MTLCommandBuffer, '-', "commit", void()> message;
void use(MTLBuffer* buffer) { message(buffer); }
#elif WICK_CASE == 8   // a message to the class sent to an instance
constexpr Message<MPSMatrixDescriptor, '-', "matrixDescriptorWithRows:columns:rowBytes:dataType:",
                  MPSMatrixDescriptor*(UInteger, UInteger, UInteger, std::uint32_t)>
    message;
void use(MPSMatrixDescriptor* descriptor) { message(descriptor, 1, 1, 4, 0); }
#elif WICK_CASE == 9   // an object lent by a temporary
void use(const Ref<MTLDevice>& device) { static_cast<void>(Ref<MTLDevice>(device).get()); }
#elif WICK_CASE == 10  // an argument of another class
constexpr Message<MTLDevice, '-', "newComputePipelineStateWithFunction:error:",
                  Owned<MTLComputePipelineState>(MTLFunction*, NSError**)>
    message;
void use(MTLDevice* device, MTLLibrary* library) { message(device, library, nullptr); }
#endif

}  // namespace
void used() {
#if WICK_CASE == 9
  use({});
#elif WICK_CASE == 10
  use(nullptr, nullptr);
#else
  use(nullptr);
#endif
}
}  // namespace wick::apple::objc

#pragma once

#include <string_view>

#include "wick/apple/objc.hpp"

// The classes and protocols of the SDK as C++ types: what inherits there, inherits here, so that a message to a wrong
// receiver does not compile.

namespace wick::apple::objc {

#define WICK_OBJC_TYPE(name, parent)                \
  struct name : parent {                            \
    static constexpr std::string_view kName{#name}; \
  }

// Foundation
WICK_OBJC_TYPE(NSObject, Object);
WICK_OBJC_TYPE(NSArray, NSObject);
WICK_OBJC_TYPE(NSData, NSObject);
WICK_OBJC_TYPE(NSDictionary, NSObject);
WICK_OBJC_TYPE(NSError, NSObject);
WICK_OBJC_TYPE(NSNumber, NSObject);
WICK_OBJC_TYPE(NSProcessInfo, NSObject);
WICK_OBJC_TYPE(NSString, NSObject);

// Metal
WICK_OBJC_TYPE(MTLCommandBuffer, NSObject);
WICK_OBJC_TYPE(MTLCommandEncoder, NSObject);
WICK_OBJC_TYPE(MTLBlitCommandEncoder, MTLCommandEncoder);
WICK_OBJC_TYPE(MTLComputeCommandEncoder, MTLCommandEncoder);
WICK_OBJC_TYPE(MTLCommandQueue, NSObject);
WICK_OBJC_TYPE(MTLCompileOptions, NSObject);
WICK_OBJC_TYPE(MTLComputePipelineState, NSObject);
WICK_OBJC_TYPE(MTLDevice, NSObject);
WICK_OBJC_TYPE(MTLEvent, NSObject);
WICK_OBJC_TYPE(MTLSharedEvent, MTLEvent);
WICK_OBJC_TYPE(MTLFunction, NSObject);
WICK_OBJC_TYPE(MTLFunctionConstantValues, NSObject);
WICK_OBJC_TYPE(MTLLibrary, NSObject);
WICK_OBJC_TYPE(MTLResource, NSObject);
WICK_OBJC_TYPE(MTLBuffer, MTLResource);

// Metal Performance Shaders
WICK_OBJC_TYPE(MPSCommandBuffer, MTLCommandBuffer);
WICK_OBJC_TYPE(MPSMatrixDescriptor, NSObject);
WICK_OBJC_TYPE(MPSVectorDescriptor, NSObject);
WICK_OBJC_TYPE(MPSMatrix, NSObject);
WICK_OBJC_TYPE(MPSTemporaryMatrix, MPSMatrix);
WICK_OBJC_TYPE(MPSVector, NSObject);
WICK_OBJC_TYPE(MPSKernel, NSObject);
WICK_OBJC_TYPE(MPSMatrixUnaryKernel, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixBinaryKernel, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixMultiplication, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixVectorMultiplication, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixSoftMax, MPSMatrixUnaryKernel);
WICK_OBJC_TYPE(MPSMatrixLogSoftMax, MPSMatrixSoftMax);
WICK_OBJC_TYPE(MPSMatrixSoftMaxGradient, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixLogSoftMaxGradient, MPSMatrixSoftMaxGradient);
WICK_OBJC_TYPE(MPSMatrixFindTopK, MPSMatrixUnaryKernel);
WICK_OBJC_TYPE(MPSMatrixSum, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixNeuron, MPSMatrixUnaryKernel);
WICK_OBJC_TYPE(MPSMatrixFullyConnected, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixCopy, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixCopyDescriptor, NSObject);
WICK_OBJC_TYPE(MPSMatrixRandomDistributionDescriptor, NSObject);
WICK_OBJC_TYPE(MPSMatrixRandom, MPSKernel);
WICK_OBJC_TYPE(MPSMatrixRandomPhilox, MPSMatrixRandom);
WICK_OBJC_TYPE(MPSMatrixRandomMTGP32, MPSMatrixRandom);
WICK_OBJC_TYPE(MPSMatrixSolveTriangular, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixSolveLU, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixSolveCholesky, MPSMatrixBinaryKernel);
WICK_OBJC_TYPE(MPSMatrixDecompositionLU, MPSMatrixUnaryKernel);
WICK_OBJC_TYPE(MPSMatrixDecompositionCholesky, MPSMatrixUnaryKernel);
WICK_OBJC_TYPE(MPSNDArrayDescriptor, NSObject);
WICK_OBJC_TYPE(MPSNDArray, NSObject);
WICK_OBJC_TYPE(MPSNDArrayMultiaryKernel, MPSKernel);
WICK_OBJC_TYPE(MPSNDArrayMatrixMultiplication, MPSNDArrayMultiaryKernel);

#undef WICK_OBJC_TYPE

}  // namespace wick::apple::objc

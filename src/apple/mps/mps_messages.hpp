#pragma once

#include "apple/objc/message.hpp"
#include "apple/objc/structs.hpp"

// The messages of Metal Performance Shaders that Wick sends. A data type is 32 bits wide in each.

namespace wick::apple::mps::messages {

using objc::Integer;
using objc::Message;
using objc::Owned;
using objc::UInteger;
using namespace wick::apple::
    objc;  // NOLINT(google-build-using-namespace): the types of Apple's headers

// NOLINTBEGIN(readability-identifier-naming): messages are objects that are called like functions

// Descriptors
inline constexpr Message<MPSMatrixDescriptor, '+',
                         "matrixDescriptorWithRows:columns:matrices:rowBytes:matrixBytes:dataType:",
                         MPSMatrixDescriptor*(UInteger, UInteger, UInteger, UInteger, UInteger,
                                              std::uint32_t)>
    describe_matrices;
inline constexpr Message<MPSMatrixDescriptor, '+',
                         "rowBytesForColumns:dataType:", UInteger(UInteger, std::uint32_t)>
    row_bytes_for_columns;
inline constexpr Message<MPSVectorDescriptor, '+',
                         "vectorDescriptorWithLength:vectors:vectorBytes:dataType:",
                         MPSVectorDescriptor*(UInteger, UInteger, UInteger, std::uint32_t)>
    describe_vectors;

// Matrices and vectors
inline constexpr Message<MPSMatrix, '-', "initWithBuffer:offset:descriptor:",
                         Owned<MPSMatrix>(MTLBuffer*, UInteger, MPSMatrixDescriptor*)>
    init_matrix;
inline constexpr Message<MPSVector, '-', "initWithBuffer:offset:descriptor:",
                         Owned<MPSVector>(MTLBuffer*, UInteger, MPSVectorDescriptor*)>
    init_vector;
inline constexpr Message<MPSTemporaryMatrix, '+',
                         "temporaryMatrixWithCommandBuffer:matrixDescriptor:",
                         MPSTemporaryMatrix*(MTLCommandBuffer*, MPSMatrixDescriptor*)>
    temporary_matrix;
inline constexpr Message<MPSTemporaryMatrix, '-', "readCount", UInteger()> read_count;
inline constexpr Message<MPSTemporaryMatrix, '-', "setReadCount:", void(UInteger)> set_read_count;

// What all unary and binary kernels have
inline constexpr Message<MPSMatrixUnaryKernel, '-', "setSourceMatrixOrigin:", void(MTLOrigin)>
    set_source_origin;
inline constexpr Message<MPSMatrixUnaryKernel, '-', "setResultMatrixOrigin:", void(MTLOrigin)>
    set_unary_result_origin;
inline constexpr Message<MPSMatrixUnaryKernel, '-', "setBatchStart:", void(UInteger)>
    set_unary_batch_start;
inline constexpr Message<MPSMatrixUnaryKernel, '-', "setBatchSize:", void(UInteger)>
    set_unary_batch_size;
inline constexpr Message<MPSMatrixBinaryKernel, '-',
                         "setPrimarySourceMatrixOrigin:", void(MTLOrigin)>
    set_primary_origin;
inline constexpr Message<MPSMatrixBinaryKernel, '-',
                         "setSecondarySourceMatrixOrigin:", void(MTLOrigin)>
    set_secondary_origin;
inline constexpr Message<MPSMatrixBinaryKernel, '-', "setResultMatrixOrigin:", void(MTLOrigin)>
    set_binary_result_origin;
inline constexpr Message<MPSMatrixBinaryKernel, '-', "setBatchStart:", void(UInteger)>
    set_binary_batch_start;
inline constexpr Message<MPSMatrixBinaryKernel, '-', "setBatchSize:", void(UInteger)>
    set_binary_batch_size;

// Products
inline constexpr Message<MPSMatrixMultiplication, '-',
                         "initWithDevice:transposeLeft:transposeRight:resultRows:resultColumns:"
                         "interiorColumns:alpha:beta:",
                         Owned<MPSMatrixMultiplication>(MTLDevice*, bool, bool, UInteger, UInteger,
                                                        UInteger, double, double)>
    init_multiplication;
inline constexpr Message<MPSMatrixMultiplication, '-', "setLeftMatrixOrigin:", void(MTLOrigin)>
    set_left_origin;
inline constexpr Message<MPSMatrixMultiplication, '-', "setRightMatrixOrigin:", void(MTLOrigin)>
    set_right_origin;
inline constexpr Message<MPSMatrixMultiplication, '-', "setResultMatrixOrigin:", void(MTLOrigin)>
    set_product_origin;
inline constexpr Message<MPSMatrixMultiplication, '-', "setBatchStart:", void(UInteger)>
    set_product_batch_start;
inline constexpr Message<MPSMatrixMultiplication, '-', "setBatchSize:", void(UInteger)>
    set_product_batch_size;
inline constexpr Message<MPSMatrixMultiplication, '-',
                         "encodeToCommandBuffer:leftMatrix:rightMatrix:resultMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_multiplication;
inline constexpr Message<
    MPSMatrixVectorMultiplication, '-', "initWithDevice:transpose:rows:columns:alpha:beta:",
    Owned<MPSMatrixVectorMultiplication>(MTLDevice*, bool, UInteger, UInteger, double, double)>
    init_vector_multiplication;
inline constexpr Message<MPSMatrixVectorMultiplication, '-',
                         "encodeToCommandBuffer:inputMatrix:inputVector:resultVector:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSVector*, MPSVector*)>
    encode_vector_multiplication;

// Rows
inline constexpr Message<MPSMatrixSoftMax, '-',
                         "initWithDevice:", Owned<MPSMatrixSoftMax>(MTLDevice*)>
    init_softmax;
inline constexpr Message<MPSMatrixSoftMax, '-', "setSourceRows:", void(UInteger)> set_softmax_rows;
inline constexpr Message<MPSMatrixSoftMax, '-', "setSourceColumns:", void(UInteger)>
    set_softmax_columns;
inline constexpr Message<MPSMatrixSoftMax, '-', "encodeToCommandBuffer:inputMatrix:resultMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*)>
    encode_softmax;
inline constexpr Message<MPSMatrixSoftMaxGradient, '-',
                         "initWithDevice:", Owned<MPSMatrixSoftMaxGradient>(MTLDevice*)>
    init_softmax_gradient;
inline constexpr Message<MPSMatrixSoftMaxGradient, '-', "setSourceRows:", void(UInteger)>
    set_gradient_rows;
inline constexpr Message<MPSMatrixSoftMaxGradient, '-', "setSourceColumns:", void(UInteger)>
    set_gradient_columns;
inline constexpr Message<MPSMatrixSoftMaxGradient, '-',
                         "encodeToCommandBuffer:gradientMatrix:forwardOutputMatrix:resultMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_softmax_gradient;
inline constexpr Message<MPSMatrixFindTopK, '-', "initWithDevice:numberOfTopKValues:",
                         Owned<MPSMatrixFindTopK>(MTLDevice*, UInteger)>
    init_top_k;
inline constexpr Message<MPSMatrixFindTopK, '-', "setSourceRows:", void(UInteger)> set_top_k_rows;
inline constexpr Message<MPSMatrixFindTopK, '-', "setSourceColumns:", void(UInteger)>
    set_top_k_columns;
inline constexpr Message<MPSMatrixFindTopK, '-', "setIndexOffset:", void(UInteger)>
    set_top_k_offset;
inline constexpr Message<MPSMatrixFindTopK, '-',
                         "encodeToCommandBuffer:inputMatrix:resultIndexMatrix:resultValueMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_top_k;

// Layers
inline constexpr Message<MPSMatrixNeuron, '-',
                         "initWithDevice:", Owned<MPSMatrixNeuron>(MTLDevice*)>
    init_neuron;
inline constexpr Message<MPSMatrixNeuron, '-', "setNeuronType:parameterA:parameterB:parameterC:",
                         void(std::int32_t, float, float, float)>
    set_neuron;
inline constexpr Message<MPSMatrixNeuron, '-', "setNeuronToPReLUWithParametersA:", void(NSData*)>
    set_slopes;
inline constexpr Message<MPSMatrixNeuron, '-', "setAlpha:", void(double)> set_neuron_alpha;
inline constexpr Message<MPSMatrixNeuron, '-', "setSourceNumberOfFeatureVectors:", void(UInteger)>
    set_neuron_rows;
inline constexpr Message<MPSMatrixNeuron, '-', "setSourceInputFeatureChannels:", void(UInteger)>
    set_neuron_columns;
inline constexpr Message<MPSMatrixNeuron, '-',
                         "encodeToCommandBuffer:inputMatrix:biasVector:resultMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSVector*, MPSMatrix*)>
    encode_neuron;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "initWithDevice:", Owned<MPSMatrixFullyConnected>(MTLDevice*)>
    init_connected;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "setNeuronType:parameterA:parameterB:parameterC:",
                         void(std::int32_t, float, float, float)>
    set_connected_neuron;
inline constexpr Message<MPSMatrixFullyConnected, '-', "setAlpha:", void(double)>
    set_connected_alpha;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "setSourceNumberOfFeatureVectors:", void(UInteger)>
    set_connected_rows;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "setSourceInputFeatureChannels:", void(UInteger)>
    set_connected_inputs;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "setSourceOutputFeatureChannels:", void(UInteger)>
    set_connected_outputs;
inline constexpr Message<MPSMatrixFullyConnected, '-',
                         "encodeToCommandBuffer:inputMatrix:weightMatrix:biasVector:resultMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSVector*, MPSMatrix*)>
    encode_connected;
inline constexpr Message<MPSMatrixSum, '-', "initWithDevice:count:rows:columns:transpose:",
                         Owned<MPSMatrixSum>(MTLDevice*, UInteger, UInteger, UInteger, bool)>
    init_sum;
inline constexpr Message<MPSMatrixSum, '-', "setNeuronType:parameterA:parameterB:parameterC:",
                         void(std::int32_t, float, float, float)>
    set_sum_neuron;
inline constexpr Message<MPSMatrixSum, '-', "setResultMatrixOrigin:", void(MTLOrigin)>
    set_sum_origin;
inline constexpr Message<MPSMatrixSum, '-',
                         "encodeToCommandBuffer:sourceMatrices:resultMatrix:scaleVector:"
                         "offsetVector:biasVector:startIndex:",
                         void(MTLCommandBuffer*, NSArray*, MPSMatrix*, MPSVector*, MPSVector*,
                              MPSVector*, UInteger)>
    encode_sum;
inline constexpr Message<NSData, '-', "initWithBytes:length:", Owned<NSData>(const void*, UInteger)>
    init_data;

// Copies
inline constexpr Message<MPSMatrixCopyDescriptor, '-', "initWithDevice:count:",
                         Owned<MPSMatrixCopyDescriptor>(MTLDevice*, UInteger)>
    init_copies;
inline constexpr Message<MPSMatrixCopyDescriptor, '-',
                         "setCopyOperationAtIndex:sourceMatrix:destinationMatrix:offsets:",
                         void(UInteger, MPSMatrix*, MPSMatrix*, MPSMatrixCopyOffsets)>
    set_copy;
inline constexpr Message<MPSMatrixCopy, '-',
                         "initWithDevice:copyRows:copyColumns:sourcesAreTransposed:"
                         "destinationsAreTransposed:",
                         Owned<MPSMatrixCopy>(MTLDevice*, UInteger, UInteger, bool, bool)>
    init_copy;
inline constexpr Message<MPSMatrixCopy, '-', "encodeToCommandBuffer:copyDescriptor:",
                         void(MTLCommandBuffer*, MPSMatrixCopyDescriptor*)>
    encode_copy;
inline constexpr Message<MPSMatrixCopy, '-',
                         "encodeToCommandBuffer:copyDescriptor:rowPermuteIndices:rowPermuteOffset:"
                         "columnPermuteIndices:columnPermuteOffset:",
                         void(MTLCommandBuffer*, MPSMatrixCopyDescriptor*, MPSVector*, UInteger,
                              MPSVector*, UInteger)>
    encode_permuted_copy;

// Random numbers
inline constexpr Message<MPSMatrixRandomDistributionDescriptor, '+',
                         "uniformDistributionDescriptorWithMinimum:maximum:",
                         MPSMatrixRandomDistributionDescriptor*(float, float)>
    uniform_distribution;
inline constexpr Message<MPSMatrixRandomDistributionDescriptor, '+',
                         "normalDistributionDescriptorWithMean:standardDeviation:",
                         MPSMatrixRandomDistributionDescriptor*(float, float)>
    normal_distribution;
inline constexpr Message<MPSMatrixRandomDistributionDescriptor, '+',
                         "normalDistributionDescriptorWithMean:standardDeviation:minimum:maximum:",
                         MPSMatrixRandomDistributionDescriptor*(float, float, float, float)>
    truncated_distribution;
inline constexpr Message<MPSMatrixRandomPhilox, '-', "initWithDevice:destinationDataType:seed:",
                         Owned<MPSMatrixRandomPhilox>(MTLDevice*, std::uint32_t, UInteger)>
    init_philox;
inline constexpr Message<MPSMatrixRandomPhilox, '-',
                         "initWithDevice:destinationDataType:seed:distributionDescriptor:",
                         Owned<MPSMatrixRandomPhilox>(MTLDevice*, std::uint32_t, UInteger,
                                                      MPSMatrixRandomDistributionDescriptor*)>
    init_philox_distributed;
inline constexpr Message<MPSMatrixRandomMTGP32, '-', "initWithDevice:destinationDataType:seed:",
                         Owned<MPSMatrixRandomMTGP32>(MTLDevice*, std::uint32_t, UInteger)>
    init_mtgp32;
inline constexpr Message<MPSMatrixRandomMTGP32, '-',
                         "initWithDevice:destinationDataType:seed:distributionDescriptor:",
                         Owned<MPSMatrixRandomMTGP32>(MTLDevice*, std::uint32_t, UInteger,
                                                      MPSMatrixRandomDistributionDescriptor*)>
    init_mtgp32_distributed;
inline constexpr Message<MPSMatrixRandom, '-', "setBatchStart:", void(UInteger)>
    set_random_batch_start;
inline constexpr Message<MPSMatrixRandom, '-', "setBatchSize:", void(UInteger)>
    set_random_batch_size;
inline constexpr Message<MPSMatrixRandom, '-', "encodeToCommandBuffer:destinationMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*)>
    encode_random_matrix;
inline constexpr Message<MPSMatrixRandom, '-', "encodeToCommandBuffer:destinationVector:",
                         void(MTLCommandBuffer*, MPSVector*)>
    encode_random_vector;

// Factorizations and solvers
inline constexpr Message<MPSMatrixDecompositionLU, '-', "initWithDevice:rows:columns:",
                         Owned<MPSMatrixDecompositionLU>(MTLDevice*, UInteger, UInteger)>
    init_lu;
inline constexpr Message<MPSMatrixDecompositionLU, '-',
                         "encodeToCommandBuffer:sourceMatrix:resultMatrix:pivotIndices:status:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*, MTLBuffer*)>
    encode_lu;
inline constexpr Message<MPSMatrixDecompositionCholesky, '-', "initWithDevice:lower:order:",
                         Owned<MPSMatrixDecompositionCholesky>(MTLDevice*, bool, UInteger)>
    init_cholesky;
inline constexpr Message<MPSMatrixDecompositionCholesky, '-',
                         "encodeToCommandBuffer:sourceMatrix:resultMatrix:status:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MTLBuffer*)>
    encode_cholesky;
inline constexpr Message<MPSMatrixSolveTriangular, '-',
                         "initWithDevice:right:upper:transpose:unit:order:numberOfRightHandSides:"
                         "alpha:",
                         Owned<MPSMatrixSolveTriangular>(MTLDevice*, bool, bool, bool, bool,
                                                         UInteger, UInteger, double)>
    init_triangular;
inline constexpr Message<MPSMatrixSolveTriangular, '-',
                         "encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:solutionMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_triangular;
inline constexpr Message<MPSMatrixSolveLU, '-',
                         "initWithDevice:transpose:order:numberOfRightHandSides:",
                         Owned<MPSMatrixSolveLU>(MTLDevice*, bool, UInteger, UInteger)>
    init_solve_lu;
inline constexpr Message<
    MPSMatrixSolveLU, '-',
    "encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:pivotIndices:solutionMatrix:",
    void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_solve_lu;
inline constexpr Message<MPSMatrixSolveCholesky, '-',
                         "initWithDevice:upper:order:numberOfRightHandSides:",
                         Owned<MPSMatrixSolveCholesky>(MTLDevice*, bool, UInteger, UInteger)>
    init_solve_cholesky;
inline constexpr Message<MPSMatrixSolveCholesky, '-',
                         "encodeToCommandBuffer:sourceMatrix:rightHandSideMatrix:solutionMatrix:",
                         void(MTLCommandBuffer*, MPSMatrix*, MPSMatrix*, MPSMatrix*)>
    encode_solve_cholesky;

// Arrays
inline constexpr Message<MPSNDArrayDescriptor, '+',
                         "descriptorWithDataType:dimensionCount:dimensionSizes:",
                         MPSNDArrayDescriptor*(std::uint32_t, UInteger, UInteger*)>
    describe_array;
inline constexpr Message<MPSNDArrayDescriptor, '-', "setPreferPackedRows:", void(bool)>
    set_packed_rows;
inline constexpr Message<MPSNDArrayDescriptor, '-',
                         "sliceDimension:withSubrange:", void(UInteger, MPSDimensionSlice)>
    slice_dimension;
inline constexpr Message<MPSNDArrayDescriptor, '-',
                         "transposeDimension:withDimension:", void(UInteger, UInteger)>
    transpose_dimensions;
inline constexpr Message<MPSNDArray, '-', "initWithDevice:descriptor:",
                         Owned<MPSNDArray>(MTLDevice*, MPSNDArrayDescriptor*)>
    init_array;
inline constexpr Message<MPSNDArray, '-', "initWithBuffer:offset:descriptor:",
                         Owned<MPSNDArray>(MTLBuffer*, UInteger, MPSNDArrayDescriptor*)>
    init_array_on_buffer;
inline constexpr Message<MPSNDArray, '-', "descriptor", MPSNDArrayDescriptor*()> array_descriptor;
inline constexpr Message<MPSNDArray, '-', "arrayViewWithCommandBuffer:descriptor:aliasing:",
                         MPSNDArray*(MTLCommandBuffer*, MPSNDArrayDescriptor*, UInteger)>
    array_view;
inline constexpr Message<MPSNDArray, '-', "writeBytes:strideBytes:", void(void*, Integer*)>
    write_bytes;
inline constexpr Message<MPSNDArray, '-', "readBytes:strideBytes:", void(void*, Integer*)>
    read_bytes;
inline constexpr Message<MPSNDArray, '-',
                         "importDataWithCommandBuffer:fromBuffer:sourceDataType:offset:rowStrides:",
                         void(MTLCommandBuffer*, MTLBuffer*, std::uint32_t, UInteger, Integer*)>
    import_data;
inline constexpr Message<
    MPSNDArray, '-', "exportDataWithCommandBuffer:toBuffer:destinationDataType:offset:rowStrides:",
    void(MTLCommandBuffer*, MTLBuffer*, std::uint32_t, UInteger, Integer*)>
    export_data;
inline constexpr Message<MPSNDArrayMultiaryKernel, '-', "initWithDevice:sourceCount:",
                         Owned<MPSNDArrayMultiaryKernel>(MTLDevice*, UInteger)>
    init_array_kernel;
inline constexpr Message<MPSNDArrayMultiaryKernel, '-',
                         "encodeToCommandBuffer:sourceArrays:destinationArray:",
                         void(MTLCommandBuffer*, NSArray*, MPSNDArray*)>
    encode_array_kernel;
inline constexpr Message<MPSNDArrayMatrixMultiplication, '-', "setAlpha:", void(double)>
    set_array_alpha;
inline constexpr Message<MPSNDArrayMatrixMultiplication, '-', "setBeta:", void(double)>
    set_array_beta;

// Command buffers
inline constexpr Message<MPSCommandBuffer, '+',
                         "commandBufferFromCommandQueue:", MPSCommandBuffer*(MTLCommandQueue*)>
    command_buffer_from;
inline constexpr Message<MPSCommandBuffer, '-', "commandBuffer", MTLCommandBuffer*()>
    current_command_buffer;
inline constexpr Message<MPSCommandBuffer, '-', "commitAndContinue", void()> commit_and_continue;

// NOLINTEND(readability-identifier-naming)

}  // namespace wick::apple::mps::messages

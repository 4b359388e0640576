#pragma once

#include "apple/objc/message.hpp"
#include "apple/objc/structs.hpp"

// The messages of Metal Performance Shaders that Wick sends. A data type is 32 bits wide in each.

namespace wick::apple::mps::messages {

using objc::Message;
using objc::Owned;
using objc::UInteger;
using namespace wick::apple::
    objc;  // NOLINT(google-build-using-namespace): the types of Apple's headers

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

}  // namespace wick::apple::mps::messages

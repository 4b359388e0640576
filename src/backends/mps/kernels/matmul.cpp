#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/products.hpp"
#include "runtime/args/matmul_args.hpp"

namespace wick::mps {

KernelStatus matmul(Stream& stream, const MatmulArgs& args) {
  const auto matrix = [](const TensorView& x) {
    return Matrix{.data = x.data,
                  .dtype = x.dtype,
                  .row_stride = x.stride(1),
                  .column_stride = x.stride(2),
                  .batch_stride = x.stride(0)};
  };
  return multiply(stream, {.G = args.c.dim(0),
                           .M = args.c.dim(1),
                           .N = args.c.dim(2),
                           .K = args.a.dim(2),
                           .a = matrix(args.a),
                           .b = matrix(args.b),
                           .c = args.c.data,
                           .c_dtype = args.c.dtype,
                           .c_row_stride = args.c.stride(1),
                           .c_batch_stride = args.c.stride(0),
                           .alpha = args.alpha,
                           .beta = args.beta});
}

}  // namespace wick::mps

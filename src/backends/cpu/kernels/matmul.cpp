#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/sgemm.hpp"
#include "runtime/args/matmul_args.hpp"
#include "runtime/variants.hpp"

namespace wick::cpu {

namespace {

Operand operand(const TensorView& x) {
  return {.data = x.data,
          .dtype = x.dtype,
          .row_stride = x.stride(1),
          .column_stride = x.stride(2),
          .batch_stride = x.stride(0)};
}

// Matrices that lie one below the other and share b are one tall matrix: fewer and larger blocks.
bool is_one_tall_matrix(const MatmulArgs& args) {
  const std::int64_t M = args.c.dim(1);
  return args.b.stride(0) == 0 && args.a.stride(0) == M * args.a.stride(1) &&
         args.c.stride(0) == M * args.c.stride(1);
}

KernelStatus multiply(Stream& stream, const MatmulArgs& args, GemmVariant variant) {
  const Term terms[] = {
      {.a = operand(args.a), .b = operand(args.b), .K = args.a.dim(2), .alpha = args.alpha}};
  Product product{.G = args.c.dim(0),
                  .M = args.c.dim(1),
                  .N = args.c.dim(2),
                  .terms = terms,
                  .c = {.data = args.c.data,
                        .dtype = args.c.dtype,
                        .row_stride = args.c.stride(1),
                        .batch_stride = args.c.stride(0)},
                  .beta = args.beta};
  if (is_one_tall_matrix(args)) {
    product.M *= product.G;
    product.G = 1;
  }
  gemm(stream, product, variant);
  return KernelStatus::ok();
}

KernelStatus matmul_library(Stream& stream, const MatmulArgs& args) {
  return multiply(stream, args, GemmVariant::kLibrary);
}

KernelStatus matmul_plain(Stream& stream, const MatmulArgs& args) {
  return multiply(stream, args, GemmVariant::kPlain);
}

}  // namespace

// A task owns blocks of c: see gemm().
KernelStatus matmul(Stream& stream, const MatmulArgs& args) {
  static const Variant<MatmulArgs> kVariants[] = {{sgemm_name(), matmul_library},
                                                  {"plain", matmul_plain}};
  return run_variants<MatmulArgs>("matmul", kVariants, stream, args);
}

}  // namespace wick::cpu

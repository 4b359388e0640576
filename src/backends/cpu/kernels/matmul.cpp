#include <algorithm>
#include <string>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/gemm.hpp"
#include "runtime/args/matmul_args.hpp"
#include "wick/runtime/settings.hpp"

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

}  // namespace

// A task owns blocks of c: see gemm().
KernelStatus matmul(Stream& stream, const MatmulArgs& args) {
  const std::string forced = forced_variant("matmul");
  if (!forced.empty() && std::ranges::count(gemm_variants(), forced) == 0) {
    return KernelStatus::unsupported("the forced variant is not on this device");
  }
  return multiply(stream, args, gemm_variant());
}

}  // namespace wick::cpu

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/norm_backward.cuh"
#include "backends/cuda/norm_rows.cuh"
#include "runtime/args/elementwise_args.hpp"

namespace wick::cuda {

KernelStatus rms_norm(Stream& stream, const RmsNormArgs& args) {
  KernelStatus status = KernelStatus::ok();
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    status = launch_norm<false>(stream, NormForward<T>{.x = data_of<const T>(args.x),
                                                       .stride = args.x.stride(0),
                                                       .weight = shared_of<T>(args.weight),
                                                       .bias = {},
                                                       .out = data_of<T>(args.out),
                                                       .mean = nullptr,
                                                       .inv = data_of<float>(args.inv_rms),
                                                       .R = args.x.dim(0),
                                                       .D = args.x.dim(1),
                                                       .eps = args.eps,
                                                       .addend = data_of<const T>(args.addend),
                                                       .sum = data_of<T>(args.sum)});
  });
  if (!args.addend || !status.is_unsupported()) return status;
  status = add(stream, {.a = args.x, .b = args.addend, .out = args.sum});
  if (!status.is_ok()) return status;
  RmsNormArgs summed = args;
  summed.x = args.sum;
  summed.addend = {};
  return rms_norm(stream, summed);
}

KernelStatus rms_norm_backward(Stream& stream, const RmsNormBackwardArgs& args) {
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    const NormBackward<T> a{.dy = data_of<const T>(args.dy),
                            .x = data_of<const T>(args.x),
                            .stride = args.x.stride(0),
                            .weight = shared_of<T>(args.weight),
                            .mean = nullptr,
                            .inv = data_of<const float>(args.inv_rms),
                            .dx = data_of<T>(args.dx),
                            .weight_sums = nullptr,
                            .bias_sums = nullptr,
                            .R = args.x.dim(0),
                            .D = args.x.dim(1),
                            .dsum = data_of<const T>(args.dsum)};
    launch_norm_backward<false>(stream, a, args.dweight, {});
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

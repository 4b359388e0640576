#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/norm_backward.cuh"
#include "backends/cuda/norm_rows.cuh"

namespace wick::cuda {

KernelStatus layer_norm(Stream& stream, const LayerNormArgs& args) {
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    launch_norm<true>(stream, NormForward<T>{.x = data_of<const T>(args.x),
                                             .stride = args.x.stride(0),
                                             .weight = shared_of<T>(args.weight),
                                             .bias = shared_of<T>(args.bias),
                                             .out = data_of<T>(args.out),
                                             .mean = data_of<float>(args.mean),
                                             .inv = data_of<float>(args.inv_std),
                                             .R = args.x.dim(0),
                                             .D = args.x.dim(1),
                                             .eps = args.eps});
  });
  return KernelStatus::ok();
}

KernelStatus layer_norm_backward(Stream& stream, const LayerNormBackwardArgs& args) {
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    const NormBackward<T> a{.dy = data_of<const T>(args.dy),
                            .x = data_of<const T>(args.x),
                            .stride = args.x.stride(0),
                            .weight = shared_of<T>(args.weight),
                            .mean = data_of<const float>(args.mean),
                            .inv = data_of<const float>(args.inv_std),
                            .dx = data_of<T>(args.dx),
                            .weight_sums = nullptr,
                            .bias_sums = nullptr,
                            .R = args.x.dim(0),
                            .D = args.x.dim(1)};
    launch_norm_backward<true>(stream, a, args.dweight, args.dbias);
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda

#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wick/layout/device.hpp"

namespace wick {

/// Threads of the CPU backend, the calling thread included. Starts as WICK_NUM_THREADS or the number
/// of processors available to the process.
int num_threads();

/// Sets the number of threads; takes effect with the next kernel. Throws Error kArgument unless n >= 1.
void set_num_threads(int n);

/// Ways in which `device` can run `kernel`, best first: `kernel_variants(kCpuDevice, "matmul")`. Empty
/// when there is only one. The pseudo-kernel "isa" lists the instruction sets that CPU kernels are
/// compiled for and this machine has. Throws Error kDevice when the device is absent.
std::vector<std::string> kernel_variants(Device device, std::string_view kernel);

/// Forces a variant by name, on every device that has it; an empty name removes the setting. A forced
/// variant that cannot do a call makes that call fail with Error kUnsupported. Throws Error kArgument
/// when no device has the variant. WICK_FORCE_VARIANT="matmul=plain,isa=avx2" does the same at start.
void force_variant(std::string_view kernel, std::string_view variant);

/// The forced variant of `kernel`, or empty.
std::string forced_variant(std::string_view kernel);

/// Where Wick keeps what it has measured: `wick` in $XDG_CACHE_HOME, or else in ~/Library/Caches on macOS and in ~/.cache
/// on other systems. Nothing where the environment names neither. The folder need not exist.
std::optional<std::filesystem::path> user_cache_folder();

/// Devices of this process, the CPU first.
std::vector<Device> devices();

/// What this build looked for and cannot use, with the reason: "cuda: no CUDA-capable device is detected".
std::vector<std::string> absent_devices();

/// What `device` is, for people: "NVIDIA H100 80GB HBM3, 79.2 GiB, …"; may be empty. Throws Error kDevice
/// when the device is absent.
std::string device_description(Device device);

}  // namespace wick

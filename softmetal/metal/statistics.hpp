#pragma once

#include <atomic>
#include <cstdint>
#include <string>

// What tests count, and what they make fail.

namespace softmetal {

struct Statistics {
  std::atomic<std::uint64_t> queues{0};
  std::atomic<std::uint64_t> command_buffers{0};
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> host_waits{0};
  std::atomic<std::uint64_t> compute_encoders{0};
  std::atomic<std::uint64_t> blit_encoders{0};
  std::atomic<std::uint64_t> dispatches{0};
  std::atomic<std::uint64_t> buffers{0};
  std::atomic<std::uint64_t> libraries{0};
  std::atomic<std::uint64_t> pipelines{0};
  std::atomic<std::uint64_t> mps_kernels{0};
  std::atomic<std::uint64_t> mps_encodes{0};
  std::atomic<std::uint64_t> shader_compiles{0};
  std::atomic<std::uint64_t> allocated_bytes{0};
};
Statistics& statistics();

/// What can be made to fail.
enum class Failure { kBufferAllocation, kCommandBuffer, kPipeline, kLibrary };
/// Whether this use of it has to fail.
bool fails_now(Failure what);
/// Whether kernels of MPS are to compute nothing.
bool mps_is_idle();
/// Whether the device is lost.
bool device_is_lost();
/// The seed of the order of lanes and threadgroups.
std::uint64_t lane_seed();

}  // namespace softmetal

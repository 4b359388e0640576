#include "softmetal/metal/statistics.hpp"

#include "softmetal/softmetal.hpp"

namespace softmetal {
namespace {

struct Injected {
  std::atomic<int> left[4]{};
  std::atomic<bool> mps_idle{false};
  std::atomic<bool> device_lost{false};
};
Injected injected;
std::atomic<std::uint64_t> seed{0};

}  // namespace

Statistics& statistics() {
  static Statistics all;
  return all;
}

Counters counters() {
  const Statistics& s = statistics();
  return {.queues = s.queues,
          .command_buffers = s.command_buffers,
          .commits = s.commits,
          .host_waits = s.host_waits,
          .compute_encoders = s.compute_encoders,
          .blit_encoders = s.blit_encoders,
          .dispatches = s.dispatches,
          .buffers = s.buffers,
          .libraries = s.libraries,
          .pipelines = s.pipelines,
          .mps_kernels = s.mps_kernels,
          .mps_encodes = s.mps_encodes,
          .shader_compiles = s.shader_compiles};
}

void inject(const Injection& what) {
  injected.left[static_cast<int>(Failure::kBufferAllocation)] = what.buffer_allocation;
  injected.left[static_cast<int>(Failure::kCommandBuffer)] = what.command_buffer;
  injected.left[static_cast<int>(Failure::kPipeline)] = what.pipeline;
  injected.left[static_cast<int>(Failure::kLibrary)] = what.library;
  injected.mps_idle = what.mps_idle;
  injected.device_lost = what.device_lost;
}

bool fails_now(Failure what) {
  std::atomic<int>& left = injected.left[static_cast<int>(what)];
  int now = left.load();
  while (now > 0 && !left.compare_exchange_weak(now, now - 1)) {
  }
  return now == 1;
}

bool mps_is_idle() { return injected.mps_idle; }
bool device_is_lost() { return injected.device_lost; }

void set_lane_seed(std::uint64_t value) { seed = value; }
std::uint64_t lane_seed() { return seed; }

}  // namespace softmetal

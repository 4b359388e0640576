#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

/// Software Metal: the classes of Metal and Metal Performance Shaders that Wick uses, for machines without a Mac. This
/// header is for tests: it counts what was done, makes things fail, and says what is alive.
namespace softmetal {

#define SOFTMETAL_API __attribute__((visibility("default")))

/// What has been done since the process began. All counts grow only.
struct Counters {
  std::uint64_t queues = 0;
  std::uint64_t command_buffers = 0;
  std::uint64_t commits = 0;
  std::uint64_t host_waits = 0;
  std::uint64_t compute_encoders = 0;
  std::uint64_t blit_encoders = 0;
  std::uint64_t dispatches = 0;
  std::uint64_t buffers = 0;
  std::uint64_t libraries = 0;
  std::uint64_t pipelines = 0;
  std::uint64_t mps_kernels = 0;
  std::uint64_t mps_encodes = 0;
  std::uint64_t shader_compiles =
      0;  // runs of the compiler; a library that the cache held needs none
};

/// The counts now.
SOFTMETAL_API Counters counters();
/// How many objects of each class live now; classes without any are left out.
SOFTMETAL_API std::map<std::string, long> live_objects();
/// The sum of live_objects().
SOFTMETAL_API long live_object_count();
/// Waits until everything that was committed has ended and has let go of what it held.
SOFTMETAL_API void drain();

/// A call that Metal would end the process for, where on_fault(kThrow) holds.
class SOFTMETAL_API Fault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
  Fault(const Fault&) = default;
  ~Fault() override;
};

/// What a wrong call does: as on a Mac, the text on stderr and abort(); or a Fault, for tests.
enum class OnFault { kAbort, kThrow };
/// Chooses it for the whole process; kAbort at the start.
SOFTMETAL_API void on_fault(OnFault action);

/// The faults of kThrow that were found where nothing can be thrown, such as an encoder that was released while open;
/// each is answered once.
SOFTMETAL_API std::vector<std::string> late_faults();

/// What is to fail. Each number counts down with each use and fails the one that finds it at 1; 0 fails nothing.
struct Injection {
  int buffer_allocation = 0;  // newBuffer… answers nil
  int command_buffer = 0;     // ends in an error instead of being run
  int pipeline = 0;           // newComputePipelineState… answers nil with an error
  int library = 0;            // newLibraryWithSource… answers nil with an error
  bool mps_idle = false;      // kernels of MPS that are encoded compute nothing
  bool device_lost = false;   // every command buffer ends in an error, every allocation fails
};
/// Sets what is to fail from now on.
SOFTMETAL_API void inject(const Injection& what);

/// In which order the lanes of a simdgroup, the threadgroups of a grid and, between two barriers, the dispatches of a
/// concurrent encoder run; 0 is the natural one.
SOFTMETAL_API void set_lane_seed(std::uint64_t seed);

}  // namespace softmetal

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "softmetal/msl/shim/msl_abi.hpp"

// Runs one threadgroup: each of its threads is a fiber of one thread of the system. Barriers and operations of a
// simdgroup are the only places where another fiber goes on.

namespace softmetal::msl {

namespace rt = ::msl::rt;

/// The run time that kernels call into, for the group that runs on this thread.
const rt::Runtime& kernel_runtime();

struct Fiber;
struct Simd;

struct GroupTask {
  const rt::Kernel* kernel = nullptr;
  void* const* buffers = nullptr;
  const std::vector<std::size_t>* threadgroup_bytes = nullptr;  // by slot; 0: none
  rt::U3 groups{}, threads_per_group{}, threads{};              // of the grid
  std::uint32_t defined_constants = 0;                          // bit i: constant i has a value
  std::uint64_t seed = 0;
};

class GroupRunner {
 public:
  GroupRunner();
  ~GroupRunner();
  GroupRunner(const GroupRunner&) = delete;
  GroupRunner& operator=(const GroupRunner&) = delete;

  /// Runs the threadgroup at `group`. Empty, or what the kernel did wrong.
  std::string run(const GroupTask& task, rt::U3 group);

  // For the run time, on the thread that runs this.
  void barrier(int site);
  rt::Lanes exchange(const void* value, std::size_t bytes, int site);
  std::uint32_t lane() const;
  void* block(std::uint32_t id, std::size_t bytes);
  bool constant_defined(std::uint32_t index) const;
  /// What each fiber runs.
  [[noreturn]] void fiber_main();

 private:
  struct Block {
    std::uint32_t id;
    std::vector<std::byte> bytes;
  };

  void prepare(const GroupTask& task, rt::U3 group);
  bool run_simd(Simd& simd);
  bool start_threads(Simd& simd);
  bool resume_waiting(Simd& simd);
  void resume(Fiber& fiber);
  void suspend();
  void end_thread();
  Fiber* take_idle();
  void fail(std::string what);
  void abandon();
  rt::ThreadPlace place_of(std::uint32_t thread) const;
  void check_stacks();

  const GroupTask* task_ = nullptr;
  rt::U3 group_{};
  rt::U3 extent_{};  // of this group: less than asked for at the edges of a grid
  std::uint32_t count_ = 0;
  std::uint32_t done_ = 0;
  std::uint32_t arrived_ = 0;  // at the barrier
  std::uint32_t generation_ = 0;
  int barrier_site_ = 0;
  std::string failure_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<Simd> simds_;
  std::vector<std::uint32_t> simd_order_;
  Simd* simd_ = nullptr;
  Fiber* current_ = nullptr;
  void* scheduler_ = nullptr;  // its stack pointer
  void* scheduler_fake_stack_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  std::size_t scheduler_size_ = 0;
  std::vector<Block> blocks_;     // arrays that the kernel declares
  std::vector<Block> arguments_;  // [[threadgroup(i)]]
  void* argument_pointers_[rt::kBuffers]{};
};

}  // namespace softmetal::msl

#include "base/thread_pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "base/platform.hpp"

namespace wick::detail {

namespace {

// True on a thread that is inside a chunk: loops started there run serially.
thread_local bool inside_loop = false;

class InsideLoop {
 public:
  InsideLoop() : before_(inside_loop) { inside_loop = true; }
  ~InsideLoop() { inside_loop = before_; }
  InsideLoop(const InsideLoop&) = delete;
  InsideLoop& operator=(const InsideLoop&) = delete;

 private:
  bool before_;
};

// While it lives, this thread and those that it starts take no signal but their own faults.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);  // a macro on some systems
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
      sigdelset(&blocked, fault);
    }
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// How long a thread looks for work, or for the end of it, before it sleeps: waking one takes as long as a small kernel,
// and kernels follow each other.
constexpr std::chrono::microseconds kSpinTime{100};

// More chunks than threads even out unequal work; many more would only cost.
constexpr std::int64_t kChunksPerThread = 4;

// The state of a pool: the number of the loop, whether it can be joined, and how many workers are inside.
constexpr std::uint64_t kInside = 0xFFFF;
constexpr std::uint64_t kOpen = std::uint64_t{1} << 16;
constexpr std::uint64_t kNextLoop = kOpen << 1;
constexpr std::uint64_t loop_of(std::uint64_t state) { return state / kNextLoop; }

}  // namespace

ThreadPool::ThreadPool(int num_threads) : spins_(num_threads <= available_processors()) {
  // Generated code keeps values below the stack pointer, where a handler that runs on the same stack would write. A signal
  // to the process goes to a thread of the program's own.
  const SignalsBlocked blocked;
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  wake(opened_, idle_);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_chunks(Job& job) {
  const InsideLoop inside;
  for (;;) {
    const std::int64_t begin = job.next.fetch_add(job.chunk, std::memory_order_relaxed);
    if (begin >= job.n) return;
    try {
      job.body(begin, std::min(begin + job.chunk, job.n));
    } catch (...) {  // carried to the caller of parallel_for
      const std::lock_guard lock(job.failure_mutex);
      if (!job.failure) job.failure = std::current_exception();
    }
  }
}

// Spins first. Who waits here counts in `sleepers` before it looks a last time, and who changes what it waits for does so
// before looking at `sleepers`: one of them sees the other.
template <class Condition>
void ThreadPool::wait_until(std::condition_variable& changed, std::atomic<int>& sleepers,
                            const Condition& condition) {
  if (spins_) {
    const auto end = std::chrono::steady_clock::now() + kSpinTime;
    do {
      for (int i = 0; i < 16; ++i) {
        if (condition()) return;
        pause_processor();
      }
    } while (std::chrono::steady_clock::now() < end);
  }
  std::unique_lock lock(mutex_);
  ++sleepers;
  changed.wait(lock, condition);
  --sleepers;
}

void ThreadPool::wake(std::condition_variable& changed, const std::atomic<int>& sleepers) {
  if (sleepers == 0) return;
  {
    const std::lock_guard lock(mutex_);
  }  // it sleeps now, or has seen the change
  changed.notify_all();
}

bool ThreadPool::is_open_after(std::uint64_t seen) const {
  const std::uint64_t state = state_;
  return (state & kOpen) != 0 && loop_of(state) != seen;
}

// Enters the loop unless it was closed meanwhile. False: there is nothing to do.
bool ThreadPool::join(std::uint64_t& seen) {
  std::uint64_t state = state_;
  while ((state & kOpen) != 0 && loop_of(state) != seen) {
    if (!state_.compare_exchange_weak(state, state + 1)) continue;
    seen = loop_of(state);
    return true;
  }
  return false;
}

void ThreadPool::work() {
  for (std::uint64_t seen = 0;;) {
    wait_until(opened_, idle_, [&] { return stopping_ || is_open_after(seen); });
    if (stopping_) return;
    if (!join(seen)) continue;
    run_chunks(*job_);
    if ((--state_ & kInside) == 0) wake(left_, callers_);
  }
}

void ThreadPool::parallel_for(std::int64_t n, std::int64_t grain,
                              FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (n <= 0) return;
  const std::int64_t threads = num_threads();
  std::unique_lock owner(job_owner_, std::defer_lock);
  if (threads == 1 || n <= grain || inside_loop || !owner.try_lock()) {
    const InsideLoop inside;
    body(0, n);
    return;
  }
  const std::int64_t even = (n + threads * kChunksPerThread - 1) / (threads * kChunksPerThread);
  Job job{.body = body,
          .n = n,
          .chunk = std::max<std::int64_t>({grain, even, 1}),
          .failure = {},
          .failure_mutex = {}};
  job_ = &job;
  state_ = (loop_of(state_) + 1) * kNextLoop | kOpen;  // nobody is inside
  wake(opened_, idle_);
  run_chunks(job);
  state_ &= ~kOpen;
  wait_until(left_, callers_, [&] { return (state_ & kInside) == 0; });
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace wick::detail

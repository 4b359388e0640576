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

}  // namespace

ThreadPool::ThreadPool(int num_threads) : spins_(num_threads <= available_processors()) {
  // Generated code keeps values below the stack pointer, where a handler that runs on the same stack would write. A signal
  // to the process goes to a thread of the program's own.
  const SignalsBlocked blocked;
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
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

template <class Condition>
void ThreadPool::spin_until(const Condition& condition) const {
  if (!spins_) return;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  while (!condition()) {
    for (int i = 0; i < 16 && !condition(); ++i) pause_processor();
    if (std::chrono::steady_clock::now() > end) return;
  }
}

void ThreadPool::work() {
  std::uint64_t seen = 0;
  for (;;) {
    spin_until([&] { return stopping_ || generation_ != seen; });
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
    if (stopping_) return;
    seen = generation_;
    if (job_ == nullptr) continue;  // it ended without this thread
    Job& job = *job_;
    ++busy_;
    lock.unlock();
    run_chunks(job);
    lock.lock();
    if (--busy_ == 0) done_.notify_all();
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
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    ++generation_;
  }
  wake_.notify_all();
  run_chunks(job);
  {
    const std::lock_guard lock(mutex_);
    job_ = nullptr;  // late wakers find nothing; those inside are waited for
  }
  const auto all_done = [&] { return busy_ == 0; };
  spin_until(all_done);
  {
    std::unique_lock lock(mutex_);
    done_.wait(lock, all_done);
  }
  if (job.failure) std::rethrow_exception(job.failure);
}

}  // namespace wick::detail

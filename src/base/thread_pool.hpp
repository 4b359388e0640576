#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace wick::detail {

/// A reference to a callable that outlives the call it is passed to: no allocation, no ownership.
template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(const F& f)  // NOLINT(google-explicit-constructor): made from lambdas at call sites
      : object_(&f), call_([](const void* object, Args... args) -> R {
          return (*static_cast<const F*>(object))(args...);
        }) {}

  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  const void* object_;
  R (*call_)(const void*, Args...);
};

/// Threads that share the chunks of one loop at a time.
///
/// A loop over [0, n) is cut into chunks of at least `grain`; the caller works too. Which thread runs
/// a chunk is not fixed, the cut is: a result may depend on the cut, never on the schedule. A loop
/// started inside a loop, or while another thread's loop is running, runs on its caller alone.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  /// Runs body(begin, end) over disjoint chunks that cover [0, n). The first exception of a chunk is
  /// rethrown after all chunks have ended.
  void parallel_for(std::int64_t n, std::int64_t grain,
                    FunctionRef<void(std::int64_t, std::int64_t)> body);

 private:
  struct Job {
    FunctionRef<void(std::int64_t, std::int64_t)> body;
    std::int64_t n;
    std::int64_t chunk;
    std::atomic<std::int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_mutex;
  };

  static void run_chunks(Job& job);
  void work();
  bool is_open_after(std::uint64_t seen) const;
  bool join(std::uint64_t& seen);
  template <class Condition>
  void wait_until(std::condition_variable& changed, std::atomic<int>& sleepers,
                  const Condition& condition);
  void wake(std::condition_variable& changed, const std::atomic<int>& sleepers);

  std::vector<std::thread> workers_;
  std::mutex job_owner_;  // held by the thread whose loop the workers share
  // A loop passes from one thread to the other through these two, without a lock: threads that spin would meet at it.
  Job* job_ = nullptr;
  std::atomic<std::uint64_t> state_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // of those that sleep
  std::condition_variable opened_;
  std::condition_variable left_;
  std::atomic<int> idle_{0};     // workers that sleep
  std::atomic<int> callers_{0};  // a caller that sleeps until all have left
  bool spins_;                   // there is a processor for each thread
};

}  // namespace wick::detail

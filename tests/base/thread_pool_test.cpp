#include "base/thread_pool.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace wick::detail {

namespace {

using Chunk = std::pair<std::int64_t, std::int64_t>;

// The chunks of one loop, sorted.
std::vector<Chunk> chunks_of(ThreadPool& pool, std::int64_t n, std::int64_t grain) {
  std::mutex mutex;
  std::vector<Chunk> chunks;
  pool.parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    chunks.emplace_back(begin, end);
  });
  std::ranges::sort(chunks);
  return chunks;
}

// True when the chunks are not empty, do not overlap and cover [0, n).
::testing::AssertionResult covers(const std::vector<Chunk>& chunks, std::int64_t n) {
  std::int64_t reached = 0;
  for (const auto& [begin, end] : chunks) {
    if (begin != reached || end <= begin) {
      return ::testing::AssertionFailure()
             << "chunk " << begin << ":" << end << " after " << reached << " of " << n;
    }
    reached = end;
  }
  if (reached != n) return ::testing::AssertionFailure() << "ends at " << reached << " of " << n;
  return ::testing::AssertionSuccess();
}

TEST(ThreadPool, CoversTheRangeExactlyOnce) {
  for (const int threads : {1, 2, 3, 4, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const std::int64_t n : {1, 2, 3, 7, 16, 31, 32, 33, 1000, 4099}) {
      for (const std::int64_t grain : {0, 1, 2, 5, 32, 1000, 5000}) {
        EXPECT_TRUE(covers(chunks_of(pool, n, grain), n))
            << threads << " threads, n " << n << ", grain " << grain;
      }
    }
  }
}

TEST(ThreadPool, EachElementIsVisitedOnceUnderManyLoops) {
  ThreadPool pool(4);
  std::vector<int> visits(1037, 0);
  for (int loop = 0; loop < 200; ++loop) {
    pool.parallel_for(std::ssize(visits), 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
  }
  EXPECT_EQ(std::ranges::count(visits, 200), std::ssize(visits));
}

TEST(ThreadPool, ChunksHaveAtLeastTheGrain) {
  ThreadPool pool(4);
  for (const std::int64_t grain : {1, 3, 64, 100}) {
    const std::vector<Chunk> chunks = chunks_of(pool, 1000, grain);
    ASSERT_TRUE(covers(chunks, 1000));
    EXPECT_GT(chunks.size(), 1U);
    for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {  // only the last may be short
      EXPECT_GE(chunks[i].second - chunks[i].first, grain);
    }
  }
}

TEST(ThreadPool, ALoopNoLongerThanTheGrainIsOneChunkOnTheCaller) {
  ThreadPool pool(4);
  const std::thread::id caller = std::this_thread::get_id();
  for (const std::int64_t grain : {10, 11, 1000}) {
    int calls = 0;
    pool.parallel_for(10, grain, [&](std::int64_t begin, std::int64_t end) {
      ++calls;
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, 10);
      EXPECT_EQ(std::this_thread::get_id(), caller);
    });
    EXPECT_EQ(calls, 1);
  }
}

TEST(ThreadPool, TheCutDependsOnSizesOnly) {
  ThreadPool first(4);
  ThreadPool second(4);
  const std::vector<Chunk> chunks = chunks_of(first, 1234, 7);
  EXPECT_GT(chunks.size(), 4U);
  for (int repeat = 0; repeat < 20; ++repeat) {
    EXPECT_EQ(chunks_of(first, 1234, 7), chunks);
    EXPECT_EQ(chunks_of(second, 1234, 7), chunks);
  }
}

TEST(ThreadPool, AnEmptyLoopCallsNothing) {
  ThreadPool pool(4);
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
    for (const std::int64_t grain : {0, 1, 100}) {
      EXPECT_TRUE(chunks_of(pool, n, grain).empty()) << n;
    }
  }
}

TEST(ThreadPool, OtherThreadsWorkToo) {
  ThreadPool pool(3);
  // Each of three chunks waits until all three have begun: only three threads can get past this.
  std::atomic<int> begun{0};
  std::mutex mutex;
  std::set<std::thread::id> threads;
  pool.parallel_for(3, 1, [&](std::int64_t begin, std::int64_t end) {
    EXPECT_EQ(end - begin, 1);
    ++begun;
    while (begun < 3) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 3U);
  EXPECT_TRUE(threads.contains(std::this_thread::get_id()));
}

bool blocks(const sigset_t& mask, int signal) { return sigismember(&mask, signal) == 1; }

sigset_t own_mask() {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return mask;
}

// Runs `body` once on each thread of a pool of three.
void on_each_thread(ThreadPool& pool, const std::function<void()>& body) {
  std::atomic<int> begun{0};
  pool.parallel_for(3, 1, [&](std::int64_t, std::int64_t) {
    ++begun;
    while (begun < 3) std::this_thread::yield();
    body();
  });
}

TEST(ThreadPool, WorkersBlockSignalsButNotTheirOwnFaults) {
  const sigset_t before = own_mask();
  ThreadPool pool(3);
  const std::thread::id caller = std::this_thread::get_id();
  std::mutex mutex;
  std::vector<sigset_t> masks;
  on_each_thread(pool, [&] {
    const std::lock_guard lock(mutex);
    if (std::this_thread::get_id() != caller) masks.push_back(own_mask());
  });
  ASSERT_EQ(masks.size(), 2U);
  for (const sigset_t& mask : masks) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGPROF, SIGUSR1, SIGCHLD}) {
      EXPECT_TRUE(blocks(mask, signal)) << signal;
    }
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
      EXPECT_FALSE(blocks(mask, signal)) << signal;
    }
  }
  const sigset_t after = own_mask();
  for (int signal = 1; signal < NSIG; ++signal) {
    EXPECT_EQ(blocks(after, signal), blocks(before, signal)) << signal;
  }
}

std::atomic<int> handled{0};
std::atomic<int> handled_elsewhere{0};
thread_local bool is_caller = false;

void count_signal(int) { ++(is_caller ? handled : handled_elsewhere); }

TEST(ThreadPool, AProcessesSignalsAreHandledByTheCaller) {
  struct sigaction counting{};
  struct sigaction before{};
  counting.sa_handler = count_signal;
  ASSERT_EQ(::sigaction(SIGUSR1, &counting, &before), 0);
  is_caller = true;
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 100; ++repeat) {
    on_each_thread(pool, [] { ::kill(::getpid(), SIGUSR1); });
  }
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_GT(handled, 0);
  EXPECT_EQ(handled_elsewhere, 0);
  is_caller = false;
}

TEST(ThreadPool, ANestedLoopRunsOnItsCallerAlone) {
  ThreadPool pool(4);
  ThreadPool other(4);
  std::vector<std::int64_t> sums(64, 0);
  std::atomic<int> strangers{0};
  pool.parallel_for(64, 1, [&](std::int64_t begin, std::int64_t end) {
    const std::thread::id self = std::this_thread::get_id();
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t& sum = sums[static_cast<std::size_t>(i)];
      ThreadPool& inner = i % 2 == 0 ? pool : other;
      inner.parallel_for(100, 1, [&](std::int64_t from, std::int64_t to) {
        if (std::this_thread::get_id() != self) ++strangers;
        for (std::int64_t k = from; k < to; ++k) sum += k;
      });
    }
  });
  EXPECT_EQ(strangers, 0);
  EXPECT_EQ(std::ranges::count(sums, 4950), 64);
}

TEST(ThreadPool, LoopsNestDeeply) {
  ThreadPool pool(2);
  std::atomic<std::int64_t> leaves{0};
  pool.parallel_for(4, 1, [&](std::int64_t a, std::int64_t b) {
    for (std::int64_t i = a; i < b; ++i) {
      pool.parallel_for(4, 1, [&](std::int64_t c, std::int64_t d) {
        for (std::int64_t k = c; k < d; ++k) {
          pool.parallel_for(4, 1, [&](std::int64_t e, std::int64_t f) { leaves += f - e; });
        }
      });
    }
  });
  EXPECT_EQ(leaves, 64);
}

TEST(ThreadPool, ParallelAgainAfterANestedLoop) {
  ThreadPool pool(2);
  pool.parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    pool.parallel_for(8, 1, [](std::int64_t, std::int64_t) {});
  });
  EXPECT_GT(chunks_of(pool, 100, 1).size(), 1U);  // a serial loop would be one chunk
}

TEST(ThreadPool, RethrowsTheExceptionOfAChunk) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (const std::int64_t culprit : {0, 50, 99}) {
      try {
        pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) {
          if (begin <= culprit && culprit < end) throw std::out_of_range("element 17");
        });
        FAIL() << "nothing was thrown";
      } catch (const std::out_of_range& caught) {
        EXPECT_STREQ(caught.what(), "element 17");
      }
    }
  }
}

TEST(ThreadPool, TheOtherChunksOfAThrowingLoopHaveEndedWhenItThrows) {
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 50; ++repeat) {
    std::atomic<int> running{0};
    std::atomic<std::int64_t> done{0};
    EXPECT_THROW(pool.parallel_for(256, 1,
                                   [&](std::int64_t begin, std::int64_t end) {
                                     ++running;
                                     std::this_thread::yield();
                                     done += end - begin;
                                     --running;
                                     if (begin == 0) throw std::runtime_error("first");
                                   }),
                 std::runtime_error);
    EXPECT_EQ(running, 0);
    EXPECT_EQ(done, 256);
  }
}

TEST(ThreadPool, OneOfManyExceptionsIsRethrown) {
  ThreadPool pool(4);
  EXPECT_THROW(pool.parallel_for(
                   1000, 1, [](std::int64_t, std::int64_t) { throw std::runtime_error("all"); }),
               std::runtime_error);
}

TEST(ThreadPool, WorksAfterAnException) {
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    EXPECT_THROW(
        pool.parallel_for(64, 1, [](std::int64_t, std::int64_t) { throw std::logic_error("no"); }),
        std::logic_error);
    EXPECT_TRUE(covers(chunks_of(pool, 64, 1), 64));
  }
}

TEST(ThreadPool, AnExceptionOfANestedLoopReachesTheOuterCaller) {
  ThreadPool pool(4);
  const auto body = [&](std::int64_t begin, std::int64_t) {
    pool.parallel_for(10, 1, [&](std::int64_t, std::int64_t) {
      if (begin == 0) throw std::runtime_error("inner");
    });
  };
  EXPECT_THROW(pool.parallel_for(64, 1, body), std::runtime_error);
  // A serial loop that throws must not leave its thread marked as being inside a loop.
  EXPECT_GT(chunks_of(pool, 100, 1).size(), 1U);
}

TEST(ThreadPool, SixteenThreadsShareOnePool) {
  constexpr int kCallers = 16;
  constexpr int kLoops = 100;
  ThreadPool pool(4);
  std::vector<std::int64_t> wrong(kCallers, 0);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      const std::int64_t n = 200 + caller;
      std::vector<std::int64_t> squares(static_cast<std::size_t>(n));
      for (int loop = 0; loop < kLoops; ++loop) {
        std::ranges::fill(squares, -1);
        pool.parallel_for(n, 4, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            squares[static_cast<std::size_t>(i)] += 1 + i * i;
          }
        });
        for (std::int64_t i = 0; i < n; ++i) {
          if (squares[static_cast<std::size_t>(i)] != i * i)
            ++wrong[static_cast<std::size_t>(caller)];
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(std::accumulate(wrong.begin(), wrong.end(), std::int64_t{0}), 0);
}

TEST(ThreadPool, ConcurrentCallersGetTheirOwnExceptions) {
  ThreadPool pool(4);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 16; ++caller) {
    callers.emplace_back([&, caller] {
      for (int loop = 0; loop < 50; ++loop) {
        const bool throws = (caller + loop) % 2 == 0;
        try {
          pool.parallel_for(64, 1, [&](std::int64_t begin, std::int64_t) {
            if (throws && begin == 0) throw std::runtime_error(std::to_string(caller));
          });
          if (throws) ++wrong;
        } catch (const std::runtime_error& caught) {
          if (!throws || caught.what() != std::to_string(caller)) ++wrong;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, IsDestroyedIdleOrJustAfterALoop) {
  for (int repeat = 0; repeat < 100; ++repeat) {
    const ThreadPool idle(3);
    std::atomic<std::int64_t> done{0};
    {
      ThreadPool busy(3);
      busy.parallel_for(50, 1, [&](std::int64_t begin, std::int64_t end) { done += end - begin; });
    }
    EXPECT_EQ(done, 50);
  }
}

TEST(ThreadPool, AHolderMayOutliveTheThreadThatMadeIt) {
  std::shared_ptr<ThreadPool> pool;
  std::thread maker([&] {
    pool = std::make_shared<ThreadPool>(3);
    pool->parallel_for(30, 1, [](std::int64_t, std::int64_t) {});
  });
  maker.join();
  EXPECT_TRUE(covers(chunks_of(*pool, 30, 1), 30));
}

TEST(FunctionRef, PassesArgumentsAndResult) {
  const int offset = 5;
  const auto add = [&](int value) { return value + offset; };
  const FunctionRef<int(int)> reference(add);
  EXPECT_EQ(reference(2), 7);
}

}  // namespace

}  // namespace wick::detail

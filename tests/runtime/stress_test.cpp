// Many threads, few rules: whatever they do to streams, guards and memory together, no element is
// lost, no block is handed out twice, and the statistics come back to where they were. Thread and
// address sanitizers see more.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <latch>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "runtime/storage.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/settings.hpp"

namespace wick {

namespace {

constexpr int kThreads = 16;

template <class Work>
void on_all_threads(const Work& work) {
  std::latch start(kThreads);  // else the first would be done before the last begins
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&work, &start, t] {
      start.arrive_and_wait();
      work(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TensorView floats(const Storage& storage) {
  const auto count = static_cast<std::int64_t>(storage.bytes() / sizeof(float));
  const Layout layout = contiguous_layout({count});
  return {.data = storage.data(),
          .dtype = DType::kF32,
          .shape = layout.shape,
          .strides = layout.strides,
          .device = storage.device(),
          .present = true};
}

// Memory with the pattern that its maker wrote into it.
struct Parcel {
  std::shared_ptr<Storage> storage;
  unsigned char pattern = 0;

  void write() const { std::memset(storage->data(), pattern, storage->bytes()); }
  bool is_intact() const {
    const std::byte* const data = storage->data();
    return std::all_of(data, data + storage->bytes(),
                       [&](std::byte value) { return value == std::byte{pattern}; });
  }
};

// Where threads leave parcels for each other.
class Post {
 public:
  void put(Parcel parcel) {
    const std::lock_guard lock(mutex_);
    parcels_.push_back(std::move(parcel));
  }
  Parcel take() {
    const std::lock_guard lock(mutex_);
    if (parcels_.empty()) return {};
    Parcel parcel = std::move(parcels_.front());
    parcels_.pop_front();
    return parcel;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    parcels_.clear();
  }

 private:
  std::mutex mutex_;
  std::deque<Parcel> parcels_;
};

class Stress : public ::testing::TestWithParam<Device> {
 protected:
  Stress() {
    empty_cache(GetParam());
    before_ = memory_stats(GetParam());
  }
  void TearDown() override {
    empty_cache(GetParam());
    const MemoryStats after = memory_stats(GetParam());
    EXPECT_EQ(after.live_bytes, before_.live_bytes);
    EXPECT_EQ(after.live_blocks, before_.live_blocks);
    EXPECT_EQ(after.cached_bytes, before_.cached_bytes);
    EXPECT_EQ(after.guard_violations, before_.guard_violations);
    EXPECT_GE(after.peak_bytes, after.live_bytes);
    EXPECT_GT(after.num_allocations, before_.num_allocations);
  }

  MemoryStats before_;
};

TEST_P(Stress, MemoryTravelsBetweenThreadsAndStreams) {
  const Device device = GetParam();
  constexpr int kRounds = 40;
  Post post;
  std::atomic<int> spoilt{0};
  std::atomic<int> received{0};
  on_all_threads([&](int t) {
    std::mt19937 random(static_cast<unsigned>(t));
    for (int round = 0; round < kRounds; ++round) {
      const StreamGuard guard(make_stream(device));
      for (int i = 0; i < 10; ++i) {
        Parcel own{Storage::allocate(device, 1 + random() % 3000),
                   static_cast<unsigned char>(random())};
        own.write();
        const Parcel other = post.take();
        if (other.storage != nullptr) {
          other.storage->note_use();  // on this thread's stream; freed by this thread
          ++received;
          if (!other.is_intact()) ++spoilt;
        }
        if (!own.is_intact()) ++spoilt;
        post.put(std::move(own));
      }
    }
  });
  post.clear();
  EXPECT_EQ(spoilt, 0);
  EXPECT_GT(received, kThreads * kRounds * 10 / 2);
}

TEST_P(Stress, OneStorageIsUsedByAllStreamsAtOnce) {
  const Device device = GetParam();
  for (int round = 0; round < 20; ++round) {
    Parcel shared{Storage::allocate(device, 10000), static_cast<unsigned char>(round)};
    shared.write();
    std::atomic<int> spoilt{0};
    // Each thread has a handle of its own; whoever is last frees the memory.
    std::vector<Parcel> handles(kThreads, shared);
    shared.storage.reset();
    on_all_threads([&](int t) {
      Parcel& mine = handles[static_cast<std::size_t>(t)];
      for (int i = 0; i < 3; ++i) {
        const StreamGuard guard(make_stream(device));
        mine.storage->note_use();
        if (!mine.is_intact()) ++spoilt;
        mine.storage->bump_version();
      }
      mine.storage.reset();
    });
    EXPECT_EQ(spoilt, 0);
  }
}

TEST_P(Stress, TheDefaultStreamServesAllThreads) {
  const Device device = GetParam();
  std::atomic<int> spoilt{0};
  on_all_threads([&](int t) {
    std::mt19937 random(static_cast<unsigned>(100 + t));
    std::vector<Parcel> held;
    for (int i = 0; i < 600; ++i) {
      held.push_back({Storage::allocate(device, 1 + random() % 2000),
                      static_cast<unsigned char>(16 * t + i % 16)});
      held.back().write();
      if (held.size() > 8) {
        const std::size_t victim = random() % held.size();
        if (!held[victim].is_intact()) ++spoilt;
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(victim));
      }
    }
  });
  EXPECT_EQ(spoilt, 0);
}

TEST_P(Stress, StatisticsCachesAndGuardsChangeMeanwhile) {
  const Device device = GetParam();
  std::atomic<int> spoilt{0};
  std::atomic<int> contradictions{0};
  on_all_threads([&](int t) {
    const StreamGuard guard(make_stream(device));
    for (int i = 0; i < 300; ++i) {
      const Parcel parcel{Storage::allocate(device, static_cast<std::size_t>(1 + i * 17)),
                          static_cast<unsigned char>(t)};
      parcel.write();
      if (t == 0) empty_cache(device);
      if (t == 1) set_allocation_guard(device, i % 2 == 0);
      if (t == 2) reset_peak_memory(device);
      const MemoryStats stats = memory_stats(device);
      // This thread holds one block, so these hold at any moment.
      const bool consistent = stats.live_blocks >= 1 && stats.live_bytes >= 256 &&
                              stats.peak_bytes >= stats.live_bytes && stats.cached_bytes >= 0 &&
                              stats.num_allocations >= stats.num_raw_allocations;
      if (!consistent) ++contradictions;
      if (!parcel.is_intact()) ++spoilt;
    }
  });
  set_allocation_guard(device, false);
  EXPECT_EQ(spoilt, 0);
  EXPECT_EQ(contradictions, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, Stress, ::testing::Values(kCpuDevice, kNullDevice),
                         [](const auto& device) { return to_string(device.param); });

// Kernels of all threads share one pool, whose size changes while they run.
TEST(StressKernels, ThreadsLaunchWhileThePoolChanges) {
  const int threads_before = num_threads();
  const std::int64_t live = memory_stats(kCpuDevice).live_bytes;
  std::atomic<int> wrong{0};
  on_all_threads([&](int t) {
    const StreamGuard guard(make_stream(kCpuDevice));
    for (int i = 0; i < 12; ++i) {
      if (t < 2) set_num_threads(1 + (i + t) % 4);
      const std::size_t count = 70000;  // enough for several chunks
      const auto a = Storage::allocate(kCpuDevice, count * sizeof(float));
      const auto b = Storage::allocate(kCpuDevice, count * sizeof(float));
      launch(kernels::fill, kCpuDevice, FillArgs{.out = floats(*a), .value = 1.0 + t});
      launch(kernels::fill, kCpuDevice, FillArgs{.out = floats(*b), .value = 100.0 * i});
      launch(kernels::add, kCpuDevice,
             BinaryArgs{.a = floats(*a), .b = floats(*b), .out = floats(*a)});
      std::vector<float> sums(count);
      std::memcpy(sums.data(), a->data(), a->bytes());
      const auto wanted = static_cast<float>(1.0 + t + 100.0 * i);
      if (std::ranges::count(sums, wanted) != std::ssize(sums)) ++wrong;
    }
  });
  set_num_threads(threads_before);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(memory_stats(kCpuDevice).live_bytes, live);
}

}  // namespace

}  // namespace wick

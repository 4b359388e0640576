#include "runtime/allocator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "wick/base/error.hpp"

namespace wick {

namespace {

// The host's memory with a ledger, which can run out.
class FakeSystem final : public RawAllocator {
 public:
  ~FakeSystem() override { EXPECT_TRUE(held_.empty()) << held_.size() << " raw blocks leaked"; }

  void* allocate(std::size_t bytes) noexcept override {
    ++asked_;
    if (held_bytes() + bytes > capacity) return nullptr;
    void* const data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    held_[data] = bytes;
    return data;
  }
  void release(void* data, std::size_t bytes) noexcept override {
    EXPECT_TRUE(held_.contains(data)) << "released twice, or never given";
    EXPECT_EQ(held_[data], bytes) << "released with another size";
    held_.erase(data);
    std::free(data);
  }
  bool host_accessible() const noexcept override { return accessible; }

  std::size_t held_bytes() const {
    std::size_t sum = 0;
    for (const auto& [data, bytes] : held_) sum += bytes;
    return sum;
  }
  std::size_t held_blocks() const { return held_.size(); }
  int asked() const { return asked_; }

  std::size_t capacity = SIZE_MAX;
  bool accessible = true;

 private:
  std::map<void*, std::size_t> held_;
  int asked_ = 0;
};

class FakeStream final : public Stream {
 public:
  FakeStream() : Stream(kNullDevice) {}
  void record(Event& /*event*/) override {}
  void wait(Event& /*event*/) override {}
  void synchronize() override {}
};

class FakeEvent final : public Event {
 public:
  explicit FakeEvent(std::shared_ptr<bool> complete) : complete_(std::move(complete)) {}
  bool is_complete() const override { return *complete_; }
  void synchronize() override {}

 private:
  std::shared_ptr<bool> complete_;
};

std::vector<std::unique_ptr<Event>> fences(const std::vector<std::shared_ptr<bool>>& flags) {
  std::vector<std::unique_ptr<Event>> events;
  for (const auto& flag : flags) events.push_back(std::make_unique<FakeEvent>(flag));
  return events;
}

class Allocator : public ::testing::Test {
 protected:
  Block allocate(std::size_t bytes) { return allocator_.allocate(bytes, first_); }
  void release(const Block& block) { allocator_.release(block, {}); }

  FakeSystem system_;
  CachingAllocator allocator_{kNullDevice, system_};
  FakeStream first_;
  FakeStream second_;
};

// What allocating `bytes` throws; the kind must be kOutOfMemory.
std::string out_of_memory_text(CachingAllocator& allocator, std::size_t bytes, Stream& stream) {
  try {
    const Block block = allocator.allocate(bytes, stream);
    allocator.release(block, {});
    ADD_FAILURE() << bytes << " bytes were given";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
    return error.what();
  }
  return {};
}

void expect_in(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
}

TEST(RoundedSize, WastesAtMostAnEighthAndTwoMebibytes) {
  std::vector<std::size_t> sizes;
  for (std::size_t bytes = 1; bytes < 20000; ++bytes) sizes.push_back(bytes);
  for (std::size_t power = 1U << 14; power <= (std::size_t{1} << 40); power *= 2) {
    for (const std::size_t eighth : {8U, 9U, 10U, 11U, 12U, 13U, 14U, 15U}) {
      const std::size_t border = power / 8 * eighth;
      sizes.insert(sizes.end(), {border - 1, border, border + 1});
    }
  }
  std::ranges::sort(sizes);
  std::size_t before = 0;
  for (const std::size_t bytes : sizes) {
    const std::size_t rounded = CachingAllocator::rounded_size(bytes);
    ASSERT_GE(rounded, bytes);
    ASSERT_GE(rounded, before) << bytes;
    ASSERT_EQ(CachingAllocator::rounded_size(rounded), rounded) << bytes;
    ASSERT_EQ(rounded % 32, 0U) << bytes;
    if (bytes <= 256) {
      ASSERT_EQ(rounded, 256U);
    } else {
      ASSERT_LE((rounded - bytes) * 8, rounded) << bytes;
      ASSERT_LT(rounded - bytes, std::size_t{2} << 20) << bytes;
    }
    before = rounded;
  }
  EXPECT_EQ(CachingAllocator::rounded_size(0), 0U);
}

TEST_F(Allocator, NothingIsGivenForNoBytes) {
  const Block block = allocate(0);
  EXPECT_EQ(block.data, nullptr);
  release(block);
  EXPECT_EQ(system_.asked(), 0);
  EXPECT_EQ(allocator_.stats().num_allocations, 0);
}

TEST_F(Allocator, ReusesABlockOfTheSameStreamAtOnce) {
  const Block block = allocate(1000);
  EXPECT_EQ(block.requested, 1000U);
  EXPECT_EQ(block.bytes, CachingAllocator::rounded_size(1000));
  EXPECT_EQ(block.stream, first_.id());
  release(block);
  const Block again = allocate(1000);
  EXPECT_EQ(again.data, block.data);
  EXPECT_EQ(system_.asked(), 1);
  const Block other = allocate(1000);
  EXPECT_NE(other.data, block.data);
  EXPECT_EQ(system_.asked(), 2);
  release(again);
  release(other);
}

TEST_F(Allocator, ReusesASlightlyLargerBlockAndCountsItsTrueSize) {
  const Block large = allocate(1100);  // a class of 1152
  ASSERT_EQ(large.bytes, 1152U);
  release(large);
  const Block smaller = allocate(1024);
  EXPECT_EQ(smaller.data, large.data);
  EXPECT_EQ(allocator_.stats().live_bytes, 1152);
  release(smaller);
  EXPECT_EQ(allocator_.stats().cached_bytes, 1152);
}

TEST_F(Allocator, TakesTheSmallestBlockThatFitsAndNoMuchLargerOne) {
  const Block large = allocate(4096);
  const Block roomy = allocate(2304);
  const Block fits = allocate(2048);
  for (const Block& block : {large, roomy, fits}) release(block);
  const Block first = allocate(2048);
  const Block second = allocate(2048);
  const Block third = allocate(2048);
  EXPECT_EQ(first.data, fits.data);
  EXPECT_EQ(second.data, roomy.data);
  EXPECT_NE(third.data, large.data);
  for (const Block& block : {first, second, third}) release(block);
}

TEST_F(Allocator, DoesNotMoveABlockToAnotherStream) {
  const Block block = allocate(4096);
  release(block);
  const Block other = allocator_.allocate(4096, second_);
  EXPECT_NE(other.data, block.data);
  EXPECT_EQ(other.stream, second_.id());
  EXPECT_EQ(system_.held_blocks(), 2U);
  release(other);
  EXPECT_EQ(allocate(4096).data, block.data);
  release(block);
  allocator_.empty_cache();
  EXPECT_EQ(system_.held_blocks(), 0U);
  EXPECT_EQ(allocator_.stats().cached_bytes, 0);
}

TEST_F(Allocator, KeepsTheMemoryOfRecordedWork) {
  const Block before = allocate(4096);
  release(before);
  const std::uint64_t pool = allocator_.begin_pool(first_);
  EXPECT_THROW(allocator_.begin_pool(first_), Error);
  const Block recorded = allocate(4096);
  EXPECT_EQ(recorded.data, before.data);  // what the stream had
  release(recorded);
  EXPECT_EQ(allocate(4096).data, recorded.data);  // again within the recording
  release(recorded);
  const Block result = allocate(8192);
  // Other streams and other threads are not recorded.
  const Block elsewhere = allocator_.allocate(4096, second_);
  EXPECT_NE(elsewhere.data, recorded.data);
  EXPECT_EQ(elsewhere.pool, 0U);
  release(elsewhere);
  std::thread([&] {
    const Block other = allocate(4096);
    EXPECT_NE(other.data, recorded.data);
    EXPECT_EQ(other.pool, 0U);
    release(other);
  }).join();
  allocator_.end_pool(pool);

  const Block later = allocate(4096);
  EXPECT_NE(later.data, recorded.data);
  EXPECT_EQ(later.pool, 0U);
  release(later);
  allocator_.empty_cache();  // not what the recorded work uses
  EXPECT_EQ(system_.held_bytes(), 4096U + 8192U);
  release(result);
  const Block fresh = allocate(8192);
  EXPECT_NE(fresh.data, result.data);
  release(fresh);

  allocator_.release_pool(pool);
  const Block back = allocate(4096);
  EXPECT_EQ(back.data, recorded.data);
  release(back);
}

TEST_F(Allocator, ASecondRecordingMayUseTheMemoryOfTheFirst) {
  const std::uint64_t pool = allocator_.begin_pool(first_);
  const Block result = allocate(4096);
  const Block scratch = allocate(8192);
  release(scratch);
  EXPECT_THROW(allocator_.reopen_pool(pool, first_), Error);  // it is open
  allocator_.end_pool(pool);
  EXPECT_THROW(allocator_.reopen_pool(pool, second_), Error);
  EXPECT_THROW(allocator_.reopen_pool(pool + 1, first_), Error);
  allocator_.reopen_pool(pool, first_);
  const Block again = allocate(8192);
  EXPECT_EQ(again.data, scratch.data);
  const Block other = allocate(4096);
  EXPECT_NE(other.data, result.data);  // which somebody still has
  allocator_.end_pool(pool);
  const Block later = allocate(4096);
  EXPECT_EQ(later.pool, 0U);
  for (const Block& block : {result, again, other, later}) release(block);
  allocator_.release_pool(pool);
}

TEST_F(Allocator, TakesBackWhatOutlivesItsRecording) {
  const std::uint64_t pool = allocator_.begin_pool(first_);
  const Block result = allocate(4096);
  allocator_.end_pool(pool);
  allocator_.release_pool(pool);
  release(result);
  EXPECT_EQ(allocate(4096).data, result.data);
  release(result);
  allocator_.empty_cache();
  EXPECT_EQ(system_.held_blocks(), 0U);
}

TEST_F(Allocator, WaitsForEveryFenceOfABlock) {
  const auto one = std::make_shared<bool>(false);
  const auto two = std::make_shared<bool>(false);
  const Block block = allocate(4096);
  allocator_.release(block, fences({one, two}));
  EXPECT_EQ(allocator_.stats().live_bytes, 0);
  EXPECT_EQ(allocator_.stats().cached_bytes, 4096);

  const Block second = allocate(4096);
  EXPECT_NE(second.data, block.data);
  *one = true;
  const Block third = allocate(4096);
  EXPECT_NE(third.data, block.data);
  *two = true;
  const Block elsewhere = allocator_.allocate(4096, second_);
  EXPECT_NE(elsewhere.data, block.data);  // it still belongs to its own stream
  const Block fourth = allocate(4096);
  EXPECT_EQ(fourth.data, block.data);
  EXPECT_EQ(allocator_.stats().cached_bytes, 0);
  for (const Block& held : {second, third, elsewhere, fourth}) release(held);
}

TEST_F(Allocator, EmptyingTheCacheLeavesWhatIsStillInUse) {
  const auto complete = std::make_shared<bool>(false);
  const Block block = allocate(4096);
  const Block live = allocate(512);
  allocator_.release(block, fences({complete}));
  allocator_.empty_cache();
  EXPECT_EQ(system_.held_blocks(), 2U);
  EXPECT_EQ(allocator_.stats().cached_bytes, 4096);
  *complete = true;
  allocator_.empty_cache();
  EXPECT_EQ(system_.held_blocks(), 1U);
  EXPECT_EQ(allocator_.stats().cached_bytes, 0);
  release(live);
}

TEST_F(Allocator, GivesEverythingBackAtItsEnd) {
  {
    CachingAllocator shortlived(kNullDevice, system_);
    const Block cached = shortlived.allocate(300, first_);
    const Block pending = shortlived.allocate(5000, second_);
    shortlived.release(cached, {});
    shortlived.release(pending, fences({std::make_shared<bool>(false)}));
    EXPECT_EQ(system_.held_blocks(), 2U);
  }
  EXPECT_EQ(system_.held_blocks(), 0U);
}

TEST_F(Allocator, CountsLivePeakCachedAndNumbers) {
  const Block a = allocate(1024);
  const Block b = allocate(2048);
  MemoryStats stats = allocator_.stats();
  EXPECT_EQ(stats.live_bytes, 3072);
  EXPECT_EQ(stats.cached_bytes, 0);
  EXPECT_EQ(stats.live_blocks, 2);
  EXPECT_EQ(stats.num_raw_allocations, 2);

  release(b);
  stats = allocator_.stats();
  EXPECT_EQ(stats.live_bytes, 1024);
  EXPECT_EQ(stats.peak_bytes, 3072);
  EXPECT_EQ(stats.cached_bytes, 2048);
  EXPECT_EQ(stats.live_blocks, 1);

  const Block c = allocate(2048);
  stats = allocator_.stats();
  EXPECT_EQ(stats.num_allocations, 3);
  EXPECT_EQ(stats.num_raw_allocations, 2);
  EXPECT_EQ(stats.cached_bytes, 0);

  release(c);
  allocator_.reset_peak();
  EXPECT_EQ(allocator_.stats().peak_bytes, 1024);
  release(a);
  EXPECT_EQ(allocator_.stats().live_blocks, 0);
  EXPECT_EQ(allocator_.stats().peak_bytes, 1024);
}

TEST_F(Allocator, ALimitIsKeptAndItsErrorHasTheNumbers) {
  allocator_.set_limit(8192);
  const Block live = allocate(4096);
  const Block cached = allocate(1024);
  release(cached);
  const std::string text = out_of_memory_text(allocator_, 5000, first_);
  const auto rounded = std::to_string(CachingAllocator::rounded_size(5000));
  expect_in(text, rounded + " bytes");
  expect_in(text, "4096 live in 1 blocks");
  expect_in(text, "limit 8192");
  EXPECT_EQ(allocator_.stats().live_bytes, 4096);
  EXPECT_EQ(allocator_.stats().peak_bytes, 5120);
  EXPECT_EQ(allocator_.stats().num_allocations, 2);

  const Block exact = allocate(4096);  // up to the very limit
  out_of_memory_text(allocator_, 1, first_);
  allocator_.set_limit(0);
  const Block more = allocate(1 << 20);
  for (const Block& block : {live, exact, more}) release(block);
}

TEST_F(Allocator, ALimitCountsWhatIsCachedAndReleasesItForRoom) {
  allocator_.set_limit(8192);
  const Block elsewhere = allocator_.allocate(8192, second_);
  release(elsewhere);
  const Block block = allocate(4096);  // another stream's cache makes room
  EXPECT_EQ(allocator_.stats().cached_bytes, 0);
  EXPECT_EQ(system_.held_bytes(), 4096U);
  release(block);
}

TEST_F(Allocator, ALimitCountsBlocksThatWaitForFences) {
  allocator_.set_limit(8192);
  const auto complete = std::make_shared<bool>(false);
  const Block pending = allocate(8192);
  allocator_.release(pending, fences({complete}));
  expect_in(out_of_memory_text(allocator_, 4096, first_), "8192 cached");
  *complete = true;
  const Block block = allocate(4096);
  release(block);
}

TEST_F(Allocator, RawFailureReleasesTheCacheAndTriesAgain) {
  system_.capacity = 10000;
  const Block cached = allocator_.allocate(8192, second_);
  release(cached);
  const Block block = allocate(4096);
  EXPECT_EQ(system_.asked(), 3);
  EXPECT_EQ(system_.held_bytes(), 4096U);
  EXPECT_EQ(allocator_.stats().cached_bytes, 0);
  EXPECT_EQ(allocator_.stats().num_raw_allocations, 2);
  const std::string text = out_of_memory_text(allocator_, 8192, first_);
  expect_in(text, "8192 bytes");
  expect_in(text, "4096 live in 1 blocks");
  expect_in(text, "limit none");
  release(block);
}

class Guarded : public Allocator {
 protected:
  Guarded() { allocator_.set_guard(true); }
  std::int64_t violations() const { return allocator_.stats().guard_violations; }
};

TEST_F(Guarded, FreshMemoryIsAlignedAndFilledWithOnes) {
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second time from the cache
    const Block block = allocate(1000);
    EXPECT_EQ(std::count(block.data, block.data + 1000, std::byte{0xFF}), 1000);
    void* aligned = block.data;
    std::size_t space = SIZE_MAX;
    EXPECT_EQ(std::align(64, 1, aligned, space), block.data);
    std::memset(block.data, 0x11, 1000);
    release(block);
  }
  EXPECT_EQ(system_.asked(), 1);
  EXPECT_EQ(violations(), 0);
}

TEST_F(Guarded, SeesAWriteBeforeAndAfterTheBlock) {
  for (const std::size_t bytes : {1U, 4U, 100U, 1000U, 1024U, 4096U}) {
    const auto after = static_cast<std::ptrdiff_t>(bytes);
    for (const std::ptrdiff_t place :
         {std::ptrdiff_t{-64}, std::ptrdiff_t{-1}, after, after + 1, after + 63}) {
      const std::int64_t before = violations();
      const Block block = allocate(bytes);
      block.data[place] = std::byte{0x00};
      release(block);
      EXPECT_EQ(violations(), before + 1) << bytes << " bytes, write at " << place;
    }
    const std::int64_t before = violations();
    const Block block = allocate(bytes);
    std::memset(block.data, 0, bytes);
    release(block);
    EXPECT_EQ(violations(), before) << bytes << " bytes, written exactly";
  }
}

TEST_F(Guarded, EachBlockKeepsTheModeItWasMadeIn) {
  const Block guarded = allocate(100);
  allocator_.set_guard(false);
  const Block plain = allocate(100);
  EXPECT_TRUE(guarded.guarded);
  EXPECT_FALSE(plain.guarded);
  guarded.data[100] = std::byte{0};
  release(guarded);
  allocator_.set_guard(true);
  release(plain);
  EXPECT_EQ(violations(), 1);
  EXPECT_EQ(allocator_.stats().live_bytes, 0);
}

TEST_F(Guarded, MemoryOutOfReachOfTheHostIsLeftAlone) {
  system_.accessible = false;
  const Block block = allocate(100);
  EXPECT_FALSE(block.guarded);
  EXPECT_EQ(block.bytes, 256U);
  release(block);
}

}  // namespace

}  // namespace wick

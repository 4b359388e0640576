#include "softmetal/msl/fibers.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "softmetal/msl/switch.hpp"

namespace softmetal::msl {

enum class FiberState { kIdle, kRunning, kAtBarrier, kAtExchange };

struct Fiber {
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  void reset();

  void* stack_pointer = nullptr;
  std::byte* stack = nullptr;
  FiberState state = FiberState::kIdle;
  std::uint32_t thread = 0;      // in the group
  std::uint32_t generation = 0;  // of what it waits for
  bool blocked = false;          // at least once since its thread began
};

struct Simd {
  std::uint32_t first = 0;  // thread in the group
  std::uint32_t size = 0;
  std::uint32_t next = 0;  // of `order`, to be started
  std::uint32_t alive = 0;
  std::uint32_t arrived = 0;
  std::uint32_t generation = 0;
  std::uint32_t lanes = 0;  // bits of those that have arrived
  int site = 0;
  std::uint32_t order[rt::kSimdWidth]{};
  Fiber* waiting[rt::kSimdWidth]{};
  std::uint32_t exchanged[2]{};  // lanes of the last two exchanges
  alignas(rt::kSlotBytes) unsigned char slots[2][rt::kSimdWidth * rt::kSlotBytes]{};
};

namespace {

#if defined(WICK_SOFTMETAL_ASAN)
constexpr std::size_t kStackBytes = 256 * 1024;
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif
constexpr std::uint64_t kCanary = 0x5AFE57ACC0FFEE42ull;
// A NaN in every floating type: memory of a threadgroup has no content at first.
constexpr int kPoison = 0xFF;
thread_local GroupRunner* running = nullptr;

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}
template <class Iterator>
void shuffle(Iterator begin, Iterator end, std::uint64_t& state) {
  for (auto n = end - begin; n > 1; --n) {
    std::swap(
        begin[n - 1],
        begin[static_cast<std::ptrdiff_t>(next_random(state) % static_cast<std::uint64_t>(n))]);
  }
}

void enter_fiber() {
  finish_switch(nullptr, nullptr, nullptr);
  running->fiber_main();
}

const rt::Runtime kRuntime{
    .barrier = [](int site) { running->barrier(site); },
    .exchange = [](const void* value, std::size_t bytes,
                   int site) { return running->exchange(value, bytes, site); },
    .lane = [] { return running->lane(); },
    .threadgroup_block = [](std::uint32_t id,
                            std::size_t bytes) { return running->block(id, bytes); },
    .constant_defined = [](std::uint32_t index) { return running->constant_defined(index); }};

}  // namespace

const rt::Runtime& kernel_runtime() { return kRuntime; }

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack = static_cast<std::byte*>(memory);
  std::memcpy(stack, &kCanary, sizeof kCanary);
  reset();
}
Fiber::~Fiber() { munmap(stack, kStackBytes); }
void Fiber::reset() {
  // Tops are staggered: equal offsets in stacks of equal size would share sets of the cache.
  const std::size_t stagger = (reinterpret_cast<std::uintptr_t>(stack) / kStackBytes * 448) % 14336;
  stack_pointer = make_stack(stack + kStackBytes - stagger, &enter_fiber);
  state = FiberState::kIdle;
  blocked = false;
}

GroupRunner::GroupRunner() = default;
GroupRunner::~GroupRunner() = default;

void GroupRunner::fail(std::string what) {
  if (failure_.empty()) failure_ = std::move(what);
}

rt::ThreadPlace GroupRunner::place_of(std::uint32_t thread) const {
  const rt::U3 t = task_->threads_per_group;
  const rt::U3 e = extent_;
  const rt::U3 local{thread % e.x, thread / e.x % e.y, thread / (e.x * e.y)};
  return {.in_grid = {group_.x * t.x + local.x, group_.y * t.y + local.y, group_.z * t.z + local.z},
          .in_group = local,
          .group = group_,
          .threads_per_group = e,
          .groups_per_grid = task_->groups,
          .threads_per_grid = task_->threads,
          .index_in_group = thread,
          .index_in_simd = thread % rt::kSimdWidth,
          .simd_in_group = thread / rt::kSimdWidth,
          .simds_per_group = (count_ + rt::kSimdWidth - 1) / rt::kSimdWidth};
}

void GroupRunner::prepare(const GroupTask& task, rt::U3 group) {
  task_ = &task;
  group_ = group;
  const auto cut = [](std::uint32_t g, std::uint32_t per, std::uint32_t all) {
    return std::min(per, all - g * per);
  };
  const rt::U3 t = task.threads_per_group;
  extent_ = {cut(group.x, t.x, task.threads.x), cut(group.y, t.y, task.threads.y),
             cut(group.z, t.z, task.threads.z)};
  count_ = extent_.x * extent_.y * extent_.z;
  done_ = arrived_ = generation_ = 0;
  failure_.clear();
  blocks_.clear();
  arguments_.clear();
  for (std::uint32_t i = 0; i < rt::kBuffers; ++i) {
    const std::size_t bytes = (*task.threadgroup_bytes)[i];
    argument_pointers_[i] = nullptr;
    if (bytes == 0) continue;
    arguments_.push_back({i, std::vector<std::byte>(bytes, static_cast<std::byte>(kPoison))});
    argument_pointers_[i] = arguments_.back().bytes.data();
  }
  const std::uint32_t num_simds = (count_ + rt::kSimdWidth - 1) / rt::kSimdWidth;
  simds_.resize(num_simds);
  simd_order_.resize(num_simds);
  std::iota(simd_order_.begin(), simd_order_.end(), 0u);
  std::uint64_t random = task.seed ^ (std::uint64_t{group.x} << 1) ^
                         (std::uint64_t{group.y} << 22) ^ (std::uint64_t{group.z} << 43);
  if (task.seed != 0) shuffle(simd_order_.begin(), simd_order_.end(), random);
  for (std::uint32_t s = 0; s < num_simds; ++s) {
    Simd& simd = simds_[s];
    simd.first = s * rt::kSimdWidth;
    simd.size = simd.alive = std::min(rt::kSimdWidth, count_ - simd.first);
    simd.next = simd.arrived = simd.generation = simd.lanes = 0;
    std::iota(simd.order, simd.order + simd.size, 0u);
    if (task.seed != 0) shuffle(simd.order, simd.order + simd.size, random);
    std::fill(std::begin(simd.waiting), std::end(simd.waiting), nullptr);
  }
}

std::string GroupRunner::run(const GroupTask& task, rt::U3 group) {
  prepare(task, group);
  running = this;
  while (done_ < count_ && failure_.empty()) {
    bool moved = false;
    for (const std::uint32_t s : simd_order_) {
      if (failure_.empty()) moved |= run_simd(simds_[s]);
    }
    if (!moved && failure_.empty()) {
      fail(arrived_ != 0 ? "a threadgroup_barrier is not reached by every thread of the group"
                         : "an operation of a simdgroup is not reached by every lane");
    }
  }
  check_stacks();
  if (!failure_.empty()) abandon();
  running = nullptr;
  return failure_;
}

bool GroupRunner::run_simd(Simd& simd) {
  simd_ = &simd;
  bool moved = start_threads(simd);
  while (failure_.empty() && resume_waiting(simd)) moved = true;
  return moved;
}

bool GroupRunner::start_threads(Simd& simd) {
  bool moved = false;
  while (simd.next < simd.size && failure_.empty()) {
    resume(*take_idle());
    moved = true;
  }
  return moved;
}

/// One round over the lanes whose wait is over.
bool GroupRunner::resume_waiting(Simd& simd) {
  bool moved = false;
  for (std::uint32_t i = 0; i < simd.size && failure_.empty(); ++i) {
    Fiber* fiber = simd.waiting[simd.order[i]];
    if (fiber == nullptr) continue;
    const bool over =
        (fiber->state == FiberState::kAtExchange && fiber->generation != simd.generation) ||
        (fiber->state == FiberState::kAtBarrier && fiber->generation != generation_);
    if (!over) continue;
    simd.waiting[simd.order[i]] = nullptr;
    fiber->state = FiberState::kRunning;
    resume(*fiber);
    moved = true;
  }
  return moved;
}

Fiber* GroupRunner::take_idle() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>());
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void GroupRunner::resume(Fiber& fiber) {
  current_ = &fiber;
  start_switch(&scheduler_fake_stack_, fiber.stack, kStackBytes);
  softmetal_switch_stack(&scheduler_, fiber.stack_pointer);
  finish_switch(scheduler_fake_stack_, nullptr, nullptr);
  if (fiber.state == FiberState::kIdle) idle_.push_back(&fiber);
}

/// Back to the scheduler, until it resumes this fiber.
void GroupRunner::suspend() {
  Fiber* me = current_;
  me->blocked = true;
  void* fake_stack = nullptr;
  start_switch(&fake_stack, scheduler_bottom_, scheduler_size_);
  softmetal_switch_stack(&me->stack_pointer, scheduler_);
  finish_switch(fake_stack, &scheduler_bottom_, &scheduler_size_);
  current_ = me;
}

void GroupRunner::fiber_main() {
  note_scheduler_stack(&scheduler_bottom_, &scheduler_size_);
  for (;;) {
    Fiber* me = current_;
    me->blocked = false;
    // Threads that never wait run one after another on one fiber.
    while (simd_->next < simd_->size && !me->blocked && failure_.empty()) {
      me->state = FiberState::kRunning;
      me->thread = simd_->first + simd_->order[simd_->next++];
      const rt::ThreadPlace place = place_of(me->thread);
      task_->kernel->entry(task_->buffers, argument_pointers_, place);
      end_thread();
    }
    me->state = FiberState::kIdle;
    suspend();
  }
}

void GroupRunner::end_thread() {
  ++done_;
  Simd& simd = *simd_;
  --simd.alive;
  if (arrived_ != 0) fail("a thread returns while others wait at a threadgroup_barrier");
  if (simd.arrived != 0 && simd.arrived == simd.alive) {
    // The rest of the lanes waited for one that has returned: an operation of the active lanes.
    simd.exchanged[simd.generation & 1] = simd.lanes;
    simd.arrived = simd.lanes = 0;
    ++simd.generation;
  }
}

void GroupRunner::barrier(int site) {
  Fiber* me = current_;
  if (done_ != 0) fail("a threadgroup_barrier comes after some thread of the group has returned");
  if (arrived_ != 0 && barrier_site_ != site)
    fail("threads of one group wait at different threadgroup_barriers");
  barrier_site_ = site;
  if (++arrived_ == count_) {
    arrived_ = 0;
    ++generation_;
    if (failure_.empty()) return;
  }
  me->state = FiberState::kAtBarrier;
  me->generation = generation_;
  simd_->waiting[me->thread - simd_->first] = me;
  suspend();
}

rt::Lanes GroupRunner::exchange(const void* value, std::size_t bytes, int site) {
  Fiber* me = current_;
  Simd& simd = *simd_;
  const std::uint32_t lane = me->thread - simd.first;
  const std::uint32_t generation = simd.generation;
  if (simd.arrived != 0 && simd.site != site)
    fail("lanes of one simdgroup are at different operations");
  simd.site = site;
  std::memcpy(simd.slots[generation & 1] + lane * rt::kSlotBytes, value, bytes);
  simd.lanes |= 1u << lane;
  const bool last = ++simd.arrived == simd.alive;
  if (last) {
    simd.exchanged[generation & 1] = simd.lanes;
    simd.arrived = simd.lanes = 0;
    ++simd.generation;
  }
  if (!last || !failure_.empty()) {
    me->state = FiberState::kAtExchange;
    me->generation = generation;
    simd.waiting[lane] = me;
    suspend();
  }
  return {simd.slots[generation & 1], simd.exchanged[generation & 1], lane};
}

std::uint32_t GroupRunner::lane() const { return current_->thread % rt::kSimdWidth; }

void* GroupRunner::block(std::uint32_t id, std::size_t bytes) {
  for (Block& block : blocks_) {
    if (block.id == id && block.bytes.size() == bytes) return block.bytes.data();
  }
  // A block of its own size on the heap, so that the address sanitizer sees what goes beyond it.
  blocks_.push_back({id, std::vector<std::byte>(bytes, static_cast<std::byte>(kPoison))});
  return blocks_.back().bytes.data();
}

bool GroupRunner::constant_defined(std::uint32_t index) const {
  return index < 32 && (task_->defined_constants >> index & 1u) != 0;
}

void GroupRunner::check_stacks() {
  for (const auto& fiber : fibers_) {
    if (std::memcmp(fiber->stack, &kCanary, sizeof kCanary) == 0) continue;
    fail("a thread needs more than " + std::to_string(kStackBytes / 1024) + " KiB of stack");
    std::memcpy(fiber->stack, &kCanary, sizeof kCanary);
  }
}

/// Forgets threads that will never end.
void GroupRunner::abandon() {
  idle_.clear();
  for (const auto& fiber : fibers_) {
    fiber->reset();
    idle_.push_back(fiber.get());
  }
}

}  // namespace softmetal::msl

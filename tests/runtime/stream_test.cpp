#include "wick/runtime/stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/null/null_backend.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/embedding_args.hpp"
#include "runtime/args/optimizer_args.hpp"
#include "runtime/backend.hpp"
#include "runtime/launch.hpp"
#include "runtime/storage.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"

namespace wick {

namespace {

constexpr Device kBothDevices[] = {kCpuDevice, kNullDevice};

template <class Call>
void expect_error(ErrorKind kind, const std::string& part, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
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

void fill(const Storage& storage, double value) {
  launch(kernels::fill, storage.device(), FillArgs{.out = floats(storage), .value = value});
}

std::vector<std::string> kernels_of(const std::vector<null::Launch>& launches) {
  std::vector<std::string> names;
  for (const null::Launch& launch : launches) names.push_back(launch.kernel);
  return names;
}

TEST(Stream, IdsAreUniqueAndNeverZero) {
  constexpr int kThreads = 8;
  constexpr std::size_t kStreams = 50;
  std::vector<std::vector<std::shared_ptr<Stream>>> made(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&made, t] {
      for (std::size_t i = 0; i < kStreams; ++i) {
        made[t].push_back(make_stream(kBothDevices[i % 2]));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> ids{current_stream(kCpuDevice).id(), current_stream(kNullDevice).id()};
  for (const auto& streams : made) {
    for (const auto& stream : streams) ids.insert(stream->id());
  }
  EXPECT_EQ(ids.size(), kThreads * kStreams + 2);
  EXPECT_FALSE(ids.contains(0));
}

TEST(Stream, KnowsItsDevice) {
  for (const Device device : kBothDevices) {
    EXPECT_EQ(make_stream(device)->device(), device);
    EXPECT_EQ(current_stream(device).device(), device);
  }
}

TEST(Stream, OfAnAbsentDeviceIsRefused) {
  const Device absent{DeviceType::kCuda, 97};
  expect_error(ErrorKind::kDevice, "cuda:97", [&] { make_stream(absent); });
  expect_error(ErrorKind::kDevice, "cuda:97", [&] { make_event(absent); });
  expect_error(ErrorKind::kDevice, "cuda:97", [&] { current_stream(absent); });
  expect_error(ErrorKind::kDevice, "cuda:97", [&] { synchronize(absent); });
  expect_error(ErrorKind::kDevice, "cuda:97", [&] { Storage::allocate(absent, 4); });
}

TEST(StreamGuard, MakesItsStreamCurrentAndNests) {
  const std::uint64_t before = current_stream(kCpuDevice).id();
  const auto outer = make_stream(kCpuDevice);
  const auto inner = make_stream(kCpuDevice);
  {
    const StreamGuard outer_guard(outer);
    EXPECT_EQ(current_stream(kCpuDevice).id(), outer->id());
    {
      const StreamGuard inner_guard(inner);
      EXPECT_EQ(current_stream(kCpuDevice).id(), inner->id());
      const StreamGuard again(outer);
      EXPECT_EQ(current_stream(kCpuDevice).id(), outer->id());
    }
    EXPECT_EQ(current_stream(kCpuDevice).id(), outer->id());
  }
  EXPECT_EQ(current_stream(kCpuDevice).id(), before);
}

TEST(StreamGuard, GuardsOfSeveralDevicesDoNotMix) {
  const auto cpu = make_stream(kCpuDevice);
  const auto null = make_stream(kNullDevice);
  const std::uint64_t null_before = current_stream(kNullDevice).id();
  const StreamGuard cpu_guard(cpu);
  EXPECT_EQ(current_stream(kNullDevice).id(), null_before);
  const StreamGuard null_guard(null);
  EXPECT_EQ(current_stream(kCpuDevice).id(), cpu->id());
  EXPECT_EQ(current_stream(kNullDevice).id(), null->id());
}

TEST(StreamGuard, KeepsItsStreamAlive) {
  std::weak_ptr<Stream> watched;
  {
    auto stream = make_stream(kNullDevice);
    watched = stream;
    const StreamGuard guard(std::move(stream));
    EXPECT_FALSE(watched.expired());
    fill(*Storage::allocate(kNullDevice, 16), 1);
  }
  EXPECT_TRUE(watched.expired());
}

TEST(StreamGuard, IsUndoneByAnException) {
  const std::uint64_t before = current_stream(kCpuDevice).id();
  try {
    const StreamGuard guard(make_stream(kCpuDevice));
    throw Error(ErrorKind::kArgument, "test", "unwinds");
  } catch (const Error&) {
    EXPECT_EQ(current_stream(kCpuDevice).id(), before);
  }
}

TEST(StreamGuard, OfNoStreamIsRefused) {
  const std::uint64_t before = current_stream(kCpuDevice).id();
  expect_error(ErrorKind::kArgument, "StreamGuard", [] { const StreamGuard guard(nullptr); });
  EXPECT_EQ(current_stream(kCpuDevice).id(), before);
}

TEST(CurrentStream, IsEachThreadsOwn) {
  const std::uint64_t shared = current_stream(kCpuDevice).id();
  const auto stream = make_stream(kCpuDevice);
  const StreamGuard guard(stream);
  std::uint64_t seen = 0;
  std::uint64_t seen_guarded = 0;
  std::thread([&] {
    seen = current_stream(kCpuDevice).id();
    const auto own = make_stream(kCpuDevice);
    const StreamGuard own_guard(own);
    seen_guarded = current_stream(kCpuDevice).id() == own->id() ? own->id() : 0;
  }).join();
  EXPECT_EQ(seen, shared);  // the default stream, not this thread's
  EXPECT_NE(seen_guarded, 0U);
  EXPECT_EQ(current_stream(kCpuDevice).id(), stream->id());
}

TEST(CurrentStream, ReceivesTheLaunches) {
  const auto first = make_stream(kNullDevice);
  const auto second = make_stream(kNullDevice);
  const auto storage = Storage::allocate(kNullDevice, 64);
  {
    const StreamGuard guard(first);
    fill(*storage, 1);
    {
      const StreamGuard inner(second);
      fill(*storage, 2);
      fill(*storage, 3);
    }
    fill(*storage, 4);
  }
  const std::vector<null::Launch> launches = null::null_stream(*first).take_launches();
  ASSERT_EQ(kernels_of(launches), (std::vector<std::string>{"fill", "fill"}));
  EXPECT_EQ(launches[0].bytes, 64);
  ASSERT_EQ(launches[0].operands.size(), 1U);
  EXPECT_EQ(launches[0].operands[0].name, "out");
  EXPECT_EQ(launches[0].operands[0].shape, (std::vector<std::int64_t>{16}));
  EXPECT_EQ(launches[0].operands[0].device, "null");
  EXPECT_EQ(null::null_stream(*second).take_launches().size(), 2U);
  EXPECT_TRUE(null::null_stream(*first).take_launches().empty());  // taken once
}

TEST(Synchronize, WaitsForTheCurrentStreamOnly) {
  const auto stream = make_stream(kNullDevice);
  const auto other = make_stream(kNullDevice);
  {
    const StreamGuard guard(stream);
    synchronize(kNullDevice);
    synchronize(kCpuDevice);
  }
  EXPECT_EQ(null::null_stream(*stream).num_waits(), 1);
  EXPECT_EQ(null::null_stream(*other).num_waits(), 0);
}

TEST(Event, IsCompleteBeforeItIsRecordedAndAfterTheWork) {
  for (const Device device : kBothDevices) {
    const auto stream = make_stream(device);
    const auto other = make_stream(device);
    const auto event = make_event(device);
    EXPECT_TRUE(event->is_complete());
    const StreamGuard guard(stream);
    const auto storage = Storage::allocate(device, 4096);
    fill(*storage, 1);
    stream->record(*event);
    other->wait(*event);
    event->synchronize();
    EXPECT_TRUE(event->is_complete());
  }
}

TEST(CpuStream, RunsWhatItIsGiven) {
  const StreamGuard guard(make_stream(kCpuDevice));
  const auto storage = Storage::allocate(kCpuDevice, 100 * sizeof(float));
  fill(*storage, 2.5);
  std::vector<float> values(100);
  std::memcpy(values.data(), storage->data(), storage->bytes());
  EXPECT_EQ(std::ranges::count(values, 2.5F), 100);
}

class ForeignGraph final : public Graph {
 public:
  std::int64_t num_launches() const override { return 1; }
};

class CpuCapture : public ::testing::Test {
 protected:
  static float first_of(const Storage& storage) {
    float value = 0;
    std::memcpy(&value, storage.data(), sizeof(value));
    return value;
  }

  std::shared_ptr<Stream> stream_ = make_stream(kCpuDevice);
  StreamGuard guard_{stream_};
  std::shared_ptr<Storage> storage_ = Storage::allocate(kCpuDevice, 64);
};

TEST_F(CpuCapture, KeepsWhatIsLaunchedAndRunsItWhenReplayed) {
  ASSERT_TRUE(stream_->supports_capture());
  fill(*storage_, 0);
  stream_->begin_capture();
  fill(*storage_, 1);
  fill(*storage_, 2);
  const std::unique_ptr<Graph> graph = stream_->end_capture();
  EXPECT_EQ(graph->num_launches(), 2);
  EXPECT_EQ(first_of(*storage_), 0);
  for (const float before : {3.0F, 4.0F}) {
    fill(*storage_, before);
    EXPECT_EQ(first_of(*storage_), before);
    stream_->replay(*graph);
    EXPECT_EQ(first_of(*storage_), 2);
  }
  make_stream(kCpuDevice)->replay(*graph);
}

TEST_F(CpuCapture, BeginsAndEndsInPairs) {
  expect_error(ErrorKind::kArgument, "no capture", [&] { stream_->end_capture(); });
  stream_->begin_capture();
  expect_error(ErrorKind::kArgument, "begun already", [&] { stream_->begin_capture(); });
  fill(*storage_, 1);
  EXPECT_EQ(stream_->end_capture()->num_launches(), 1);  // the refused call spoilt nothing
  stream_->begin_capture();
  EXPECT_EQ(stream_->end_capture()->num_launches(), 0);
  expect_error(ErrorKind::kDevice, "another", [&] { stream_->replay(ForeignGraph()); });
  expect_error(ErrorKind::kDevice, "another", [&] {
    const ForeignGraph foreign;
    stream_->begin_capture(&foreign);
  });
  stream_->begin_capture();
  stream_->end_capture();
}

TEST_F(CpuCapture, TakesNothingFromTheHost) {
  std::vector<float> values(16);
  Backend& cpu = backend_of(kCpuDevice);
  stream_->begin_capture();
  expect_error(ErrorKind::kUnsupported, "while it captures", [&] { stream_->synchronize(); });
  expect_error(ErrorKind::kUnsupported, "while it captures",
               [&] { cpu.copy_from_host(*stream_, storage_->data(), values.data(), 64); });
  expect_error(ErrorKind::kUnsupported, "while it captures",
               [&] { cpu.copy_to_host(*stream_, values.data(), storage_->data(), 64); });
  stream_->end_capture();
}

TEST_F(CpuCapture, WhatOtherThreadsLaunchIsRun) {
  fill(*storage_, 0);
  stream_->begin_capture();
  std::thread([&] {
    const StreamGuard guard(stream_);
    fill(*storage_, 5);
  }).join();
  EXPECT_EQ(first_of(*storage_), 5);
  EXPECT_EQ(stream_->end_capture()->num_launches(), 0);
}

// A block that was given back while it captured is written again by each repetition.
TEST_F(CpuCapture, ItsMemoryIsItsOwn) {
  stream_->begin_capture();
  void* captured = nullptr;
  {
    const auto inner = Storage::allocate(kCpuDevice, 5000);
    captured = inner->data();
    fill(*inner, 1);
  }
  {
    const auto after = Storage::allocate(kCpuDevice, 5000);
    EXPECT_EQ(after->data(), captured);
    fill(*after, 2);
  }
  std::unique_ptr<Graph> graph = stream_->end_capture();
  {
    const auto outside = Storage::allocate(kCpuDevice, 5000);
    EXPECT_NE(outside->data(), captured);
    fill(*outside, 7);
    stream_->replay(*graph);
    EXPECT_EQ(first_of(*outside), 7);
  }
  graph.reset();
  const auto again = Storage::allocate(kCpuDevice, 5000);
  fill(*again, 1);
}

TEST_F(CpuCapture, AKernelThatRefusesWhenReplayedIsNamed) {
  const auto ids = Storage::allocate(kCpuDevice, 4), out = Storage::allocate(kCpuDevice, 16);
  TensorView id = floats(*ids);
  id.dtype = DType::kI32;
  TensorView weight = floats(*storage_);
  weight.shape = {4, 4};
  weight.strides = contiguous_layout(weight.shape).strides;
  TensorView row = floats(*out);
  row.shape = {1, 4};
  row.strides = contiguous_layout(row.shape).strides;
  fill(*storage_, 6);
  stream_->begin_capture();
  launch(kernels::embedding, kCpuDevice, EmbeddingArgs{.weight = weight, .ids = id, .out = row});
  const std::unique_ptr<Graph> graph = stream_->end_capture();
  for (const std::int32_t given : {3, 4}) {
    std::memcpy(ids->data(), &given, sizeof(given));
    if (given == 3) {
      stream_->replay(*graph);
      EXPECT_EQ(first_of(*out), 6);
    } else {
      expect_error(ErrorKind::kArgument, "embedding: ", [&] { stream_->replay(*graph); });
    }
  }
}

// The list of tensors that a kernel is given ends with the call.
TEST_F(CpuCapture, KeepsListsOfTensors) {
  const auto norm = Storage::allocate(kCpuDevice, 4);
  fill(*storage_, 2);
  stream_->begin_capture();
  {
    const std::vector<TensorView> tensors{floats(*storage_)};
    launch(kernels::global_norm, kCpuDevice, GlobalNormArgs{.tensors = tensors, .out = [&] {
                                                              TensorView scalar = floats(*norm);
                                                              scalar.shape = {};
                                                              return scalar;
                                                            }()});
  }
  const std::unique_ptr<Graph> graph = stream_->end_capture();
  stream_->replay(*graph);
  EXPECT_EQ(first_of(*norm), 8);  // of 16 twos
}

class NullCapture : public ::testing::Test {
 protected:
  null::NullStream& null_stream() { return null::null_stream(*stream_); }

  std::shared_ptr<Stream> stream_ = make_stream(kNullDevice);
  StreamGuard guard_{stream_};
  std::shared_ptr<Storage> storage_ = Storage::allocate(kNullDevice, 64);
};

TEST_F(NullCapture, RecordsInsteadOfRunningAndReplaysInOrder) {
  ASSERT_TRUE(stream_->supports_capture());
  fill(*storage_, 0);
  stream_->begin_capture();
  fill(*storage_, 1);
  launch(kernels::copy, kNullDevice, CopyArgs{.src = floats(*storage_), .dst = floats(*storage_)});
  const std::unique_ptr<Graph> graph = stream_->end_capture();
  EXPECT_EQ(graph->num_launches(), 2);
  EXPECT_EQ(kernels_of(null_stream().take_launches()), (std::vector<std::string>{"fill"}));

  for (int repeat = 0; repeat < 3; ++repeat) {
    stream_->replay(*graph);
    fill(*storage_, 2);
    EXPECT_EQ(kernels_of(null_stream().take_launches()),
              (std::vector<std::string>{"fill", "copy", "fill"}));
  }
  EXPECT_EQ(null_stream().num_waits(), 0);
}

TEST_F(NullCapture, AGraphOutlivesItsStreamAndRunsOnAnother) {
  stream_->begin_capture();
  fill(*storage_, 1);
  const std::unique_ptr<Graph> graph = stream_->end_capture();
  const auto other = make_stream(kNullDevice);
  other->replay(*graph);
  EXPECT_EQ(null::null_stream(*other).take_launches().size(), 1U);
  EXPECT_TRUE(null_stream().take_launches().empty());
}

TEST_F(NullCapture, EachCaptureStartsEmpty) {
  stream_->begin_capture();
  fill(*storage_, 1);
  EXPECT_EQ(stream_->end_capture()->num_launches(), 1);
  stream_->begin_capture();
  EXPECT_EQ(stream_->end_capture()->num_launches(), 0);
}

TEST_F(NullCapture, BeginsAndEndsInPairs) {
  expect_error(ErrorKind::kArgument, "no capture", [&] { stream_->end_capture(); });
  stream_->begin_capture();
  expect_error(ErrorKind::kArgument, "begun already", [&] { stream_->begin_capture(); });
  fill(*storage_, 1);
  EXPECT_EQ(stream_->end_capture()->num_launches(), 1);  // the refused call spoilt nothing
  expect_error(ErrorKind::kArgument, "no capture", [&] { stream_->end_capture(); });
}

TEST_F(NullCapture, RefusesTheGraphOfAnotherDevice) {
  expect_error(ErrorKind::kDevice, "another device", [&] { stream_->replay(ForeignGraph()); });
  EXPECT_TRUE(null_stream().take_launches().empty());
}

TEST(NullStream, IsNotFoundBehindAStreamOfAnotherDevice) {
  expect_error(ErrorKind::kDevice, "cpu", [] { null::null_stream(current_stream(kCpuDevice)); });
}

TEST(Launch, ARefusalBecomesAnErrorWithTheOperands) {
  const auto storage = Storage::allocate(kCpuDevice, 12);
  const std::vector<Operand> operands = describe(FillArgs{.out = floats(*storage)});
  expect_error(
      ErrorKind::kUnsupported, "fill: cpu cannot do this: too odd; got out [3] f32@cpu",
      [&] { throw_refused("fill", kCpuDevice, KernelStatus::unsupported("too odd"), operands); });
  expect_error(ErrorKind::kArgument, "fill: bad value; got out [3] f32@cpu", [&] {
    throw_refused("fill", kCpuDevice, KernelStatus::invalid("bad value"), operands);
  });
}

TEST(Storage, KeepsTheOtherStreamsThatUsedItForItsFences) {
  const auto owner = make_stream(kNullDevice);
  const std::int64_t live = memory_stats(kNullDevice).live_blocks;
  {
    const StreamGuard owner_guard(owner);
    auto storage = Storage::allocate(kNullDevice, 1000);
    storage->note_use();  // its own stream needs no fence
    std::weak_ptr<Stream> watched;
    {
      auto passing = make_stream(kNullDevice);
      watched = passing;
      const StreamGuard user_guard(std::move(passing));
      storage->note_use();
      storage->note_use();
    }
    EXPECT_FALSE(watched.expired());  // kept for the fence
    storage.reset();
    EXPECT_TRUE(watched.expired());
  }
  EXPECT_EQ(memory_stats(kNullDevice).live_blocks, live);
}

TEST(Storage, WrapsMemoryOfSomebodyElse) {
  auto owner = std::make_shared<std::vector<std::byte>>(10);
  const std::weak_ptr<std::vector<std::byte>> watched = owner;
  const std::int64_t live = memory_stats(kCpuDevice).live_blocks;
  auto storage = Storage::wrap(kCpuDevice, *owner, owner);
  EXPECT_EQ(storage->data(), owner->data());
  EXPECT_EQ(storage->bytes(), 10U);
  EXPECT_EQ(memory_stats(kCpuDevice).live_blocks, live);
  storage->note_use();
  owner.reset();
  EXPECT_FALSE(watched.expired());
  storage.reset();
  EXPECT_TRUE(watched.expired());
}

}  // namespace

}  // namespace wick

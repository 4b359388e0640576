#include "wick/runtime/settings.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/instruction_set.hpp"
#include "runtime/backend.hpp"
#include "runtime/variants.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"

namespace wick {

namespace {

constexpr Device kAbsentDevice{DeviceType::kCuda, 97};

// Leaves the settings as they were.
class Settings : public ::testing::Test {
 protected:
  void TearDown() override {
    set_num_threads(threads_);
    force_variant("matmul", "");
    force_variant("isa", "");
  }

 private:
  int threads_ = num_threads();
};

// Calls `call`, which must throw an Error of `kind` whose text has all of `parts`.
template <class Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

TEST_F(Settings, NumThreadsIsWhatWasSet) {
  EXPECT_GE(num_threads(), 1);
  for (const int n : {1, 3, 2}) {
    set_num_threads(n);
    EXPECT_EQ(num_threads(), n);
    EXPECT_EQ(cpu::thread_pool(current_stream(kCpuDevice))->num_threads(), n);
  }
}

TEST_F(Settings, NumThreadsBelowOneIsRefused) {
  set_num_threads(2);
  for (const int n : {0, -1, INT_MIN}) {
    expect_error(ErrorKind::kArgument, {"set_num_threads", std::to_string(n)},
                 [&] { set_num_threads(n); });
  }
  EXPECT_EQ(num_threads(), 2);
}

TEST_F(Settings, APoolInUseOutlivesAChange) {
  set_num_threads(3);
  const auto pool = cpu::thread_pool(current_stream(kCpuDevice));
  set_num_threads(2);
  EXPECT_EQ(cpu::thread_pool(current_stream(kCpuDevice))->num_threads(), 2);
  std::atomic<std::int64_t> done{0};
  pool->parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end) { done += end - begin; });
  EXPECT_EQ(done, 100);
}

TEST_F(Settings, TheCpuComesFirstAmongTheDevices) {
  const std::vector<Device> present = devices();
  ASSERT_FALSE(present.empty());
  EXPECT_EQ(present.front(), kCpuDevice);
  EXPECT_EQ(std::ranges::count(present, kNullDevice), 1);
  for (const Device& device : present) EXPECT_EQ(backend_of(device).device(), device);
}

TEST_F(Settings, KernelVariantsAreListedBestFirst) {
  const std::vector<std::string> matmul = kernel_variants(kCpuDevice, "matmul");
  ASSERT_GE(matmul.size(), 2U);
  EXPECT_EQ(matmul.back(), "plain");
  EXPECT_TRUE(kernel_variants(kCpuDevice, "fill").empty());
  EXPECT_TRUE(kernel_variants(kCpuDevice, "no such kernel").empty());
  EXPECT_TRUE(kernel_variants(kNullDevice, "matmul").empty());
}

TEST_F(Settings, AnAbsentDeviceIsRefusedWithThoseThatArePresent) {
  const std::vector<std::string> parts{"cuda:97", "cpu", "null"};
  expect_error(ErrorKind::kDevice, parts, [] { kernel_variants(kAbsentDevice, "matmul"); });
  expect_error(ErrorKind::kDevice, parts, [] { memory_stats(kAbsentDevice); });
  expect_error(ErrorKind::kDevice, parts, [] { empty_cache(kAbsentDevice); });
  expect_error(ErrorKind::kDevice, parts, [] { reset_peak_memory(kAbsentDevice); });
  expect_error(ErrorKind::kDevice, parts, [] { set_memory_limit(kAbsentDevice, 1); });
  expect_error(ErrorKind::kDevice, parts, [] { set_allocation_guard(kAbsentDevice, true); });
}

TEST_F(Settings, ANegativeMemoryLimitIsRefused) {
  expect_error(ErrorKind::kArgument, {"set_memory_limit", "-1"},
               [] { set_memory_limit(kCpuDevice, -1); });
}

TEST_F(Settings, AForcedVariantIsRememberedAndForgotten) {
  EXPECT_EQ(forced_variant("matmul"), "");
  force_variant("matmul", "plain");
  EXPECT_EQ(forced_variant("matmul"), "plain");
  EXPECT_EQ(forced_variant("isa"), "");
  force_variant("matmul", "");
  EXPECT_EQ(forced_variant("matmul"), "");
}

TEST_F(Settings, AnUnknownVariantIsRefusedAndChangesNothing) {
  force_variant("matmul", "plain");
  expect_error(ErrorKind::kArgument, {"force_variant", "quick", "matmul"},
               [] { force_variant("matmul", "quick"); });
  expect_error(ErrorKind::kArgument, {"plain", "matmull"},
               [] { force_variant("matmull", "plain"); });
  expect_error(ErrorKind::kArgument, {"isa", "abacus"}, [] { force_variant("isa", "abacus"); });
  EXPECT_EQ(forced_variant("matmul"), "plain");
  EXPECT_EQ(forced_variant("isa"), "");
}

TEST_F(Settings, EachInstructionSetIsUsedWhenForced) {
  const std::vector<std::string> sets = kernel_variants(kCpuDevice, "isa");
  ASSERT_FALSE(sets.empty());
  for (const std::string& name : sets) {
    force_variant("isa", name);
    EXPECT_EQ(cpu::active_instruction_set(), name);
    EXPECT_EQ(forced_variant("isa"), name);
  }
  force_variant("isa", "");
  EXPECT_EQ(cpu::active_instruction_set(), sets.front());
}

// Three ways to run a kernel that count their calls; the first refuses odd numbers, the second all.
struct NumberArgs {
  int number = 0;
};
struct Calls {
  int first = 0;
  int second = 0;
  int last = 0;
};
Calls calls;

constexpr Variant<NumberArgs> kNumberVariants[] = {
    {"onednn",
     [](Stream&, const NumberArgs& args) {
       ++calls.first;
       return args.number % 2 == 0 ? KernelStatus::ok() : KernelStatus::unsupported("odd");
     }},
    {"second",
     [](Stream&, const NumberArgs& args) {
       ++calls.second;
       return args.number < 0 ? KernelStatus::invalid("negative")
                              : KernelStatus::unsupported("never");
     }},
    {"plain",
     [](Stream&, const NumberArgs& args) {
       ++calls.last;
       return args.number == 99 ? KernelStatus::unsupported("99") : KernelStatus::ok();
     }},
};

KernelStatus run_number(int number) {
  calls = {};
  return run_variants<NumberArgs>("matmul", kNumberVariants, current_stream(kCpuDevice),
                                  {.number = number});
}

TEST_F(Settings, VariantsAreTriedInOrderUntilOneAccepts) {
  EXPECT_TRUE(run_number(2).is_ok());
  EXPECT_EQ(calls.first, 1);
  EXPECT_EQ(calls.second + calls.last, 0);
  EXPECT_TRUE(run_number(3).is_ok());
  EXPECT_EQ(calls.first + calls.second + calls.last, 3);
}

TEST_F(Settings, AnInvalidCallEndsTheSearch) {
  const KernelStatus status = run_number(-1);
  EXPECT_TRUE(status.is_invalid());
  EXPECT_EQ(status.reason(), "negative");
  EXPECT_EQ(calls.last, 0);
}

TEST_F(Settings, WhenNoneAcceptsEachSaysWhy) {
  const KernelStatus status = run_number(99);
  EXPECT_TRUE(status.is_unsupported());
  EXPECT_EQ(status.reason(), "onednn: odd; second: never; plain: 99");
}

TEST_F(Settings, AForcedVariantIsTheOnlyOneTried) {
  force_variant("matmul", "plain");
  EXPECT_TRUE(run_number(2).is_ok());
  EXPECT_EQ(calls.first + calls.second, 0);
  EXPECT_EQ(calls.last, 1);
  const KernelStatus status = run_number(99);
  EXPECT_TRUE(status.is_unsupported());
  EXPECT_EQ(status.reason(), "plain: 99");
}

// The environment is read once, so each of these looks at it from a process of its own. The child
// runs its test from the beginning: nothing before EXPECT_EXIT may read a setting.
class Environment : public ::testing::Test {
 protected:
  Environment() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

template <class Check>
[[noreturn]] void exit_with(const char* name, const char* value, const Check& check) {
  setenv(name, value, /*overwrite=*/1);
  std::_Exit(check() ? 0 : 1);
}

template <class Call>
bool throws_argument_error(const Call& call, const std::string& part) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind() == ErrorKind::kArgument &&
           std::string(error.what()).find(part) != std::string::npos;
  }
  return false;
}

TEST_F(Environment, SetsTheNumberOfThreads) {
  EXPECT_EXIT(exit_with("WICK_NUM_THREADS", "5", [] { return num_threads() == 5; }),
              ::testing::ExitedWithCode(0), "");
}

TEST_F(Environment, RefusesABadNumberOfThreads) {
  EXPECT_EXIT(exit_with("WICK_NUM_THREADS", "5x",
                        [] { return throws_argument_error([] { num_threads(); }, "5x"); }),
              ::testing::ExitedWithCode(0), "");
}

TEST_F(Environment, ForcesVariants) {
  EXPECT_EXIT(
      {
        const std::string last(cpu::instruction_sets().back());
        exit_with("WICK_FORCE_VARIANT", ("matmul=plain,isa=" + last).c_str(), [&] {
          // The devices are made with the forced instruction set.
          return !devices().empty() && cpu::active_instruction_set() == last &&
                 forced_variant("isa") == last && forced_variant("matmul") == "plain";
        });
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(Environment, RefusesAListThatIsNotOne) {
  EXPECT_EXIT(
      exit_with("WICK_FORCE_VARIANT", "plain",
                [] { return throws_argument_error([] { forced_variant("matmul"); }, "plain"); }),
      ::testing::ExitedWithCode(0), "");
}

// A misspelt name must not turn into a run that forces nothing.
TEST_F(Environment, RefusesAVariantThatNoDeviceHas) {
  EXPECT_EXIT(exit_with("WICK_FORCE_VARIANT", "matmull=plain",
                        [] { return throws_argument_error([] { devices(); }, "matmull"); }),
              ::testing::ExitedWithCode(0), "");
}

TEST_F(Environment, RefusesAnInstructionSetThatIsNotHere) {
  EXPECT_EXIT(exit_with("WICK_FORCE_VARIANT", "isa=abacus",
                        [] { return throws_argument_error([] { devices(); }, "abacus"); }),
              ::testing::ExitedWithCode(0), "");
}

}  // namespace

}  // namespace wick

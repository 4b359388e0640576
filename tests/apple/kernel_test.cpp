#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>

#include "apple/apple_test_support.hpp"
#include "wick/base/float16.hpp"

// The Metal Shading Language on softmetal: what kernels compute, and what they are refused for.

namespace wick::test {
namespace {

using namespace apple::metal;

std::string all_kernels() {
  std::ostringstream text;
  text << std::ifstream(WICK_TEST_KERNELS "/all.metal").rdbuf();
  return text.str();
}

class KernelTest : public AppleTest {
 protected:
  static void SetUpTestSuite() {
    all_ = new Library(Device::system_default()->library(all_kernels()));
  }
  static void TearDownTestSuite() {
    delete all_;
    all_ = nullptr;
  }
  static const Library& all() { return *all_; }
  ComputePipeline pipeline(std::string_view name) const {
    return device().pipeline(all().function(name));
  }

  /// Runs one kernel: `bind` sets buffers and dispatches.
  template <class F>
  void run(const ComputePipeline& kernel, F bind) const {
    const CommandQueue queue = device().queue();
    CommandBuffer work = queue.command_buffer();
    {
      ComputeEncoder encoder = work.compute_encoder();
      encoder.set_pipeline(kernel);
      bind(encoder);
    }
    work.commit();
    work.wait();
  }
  template <class T>
  static void set_value(ComputeEncoder& encoder, const T& value, std::uint32_t index) {
    encoder.set_bytes(std::as_bytes(std::span(&value, 1)), index);
  }
  static std::vector<float> numbers(std::size_t count) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i)
      values[i] = static_cast<float>(i * 7919 % 1000) / 250.0f - 2.0f;
    return values;
  }

 private:
  static inline Library* all_ = nullptr;
};

TEST_F(KernelTest, ALibraryNamesItsKernels) {
  const auto names = all().function_names();
  EXPECT_EQ(names.size(), 10u);
  for (const char* name : {"rms_norm", "softmax", "matmul", "scale_f32", "scale_bf16"}) {
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  }
  const Error error = error_of([&] { all().function("nothing"); });
  EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(error.what(), "'nothing'");
  const ComputePipeline kernel = pipeline("matmul");
  EXPECT_EQ(kernel.static_threadgroup_bytes(), (32u * 8 + 8 * 32 + 32 * 32) * 4);
  EXPECT_EQ(kernel.max_threads_per_threadgroup(), 1024u);
  EXPECT_EQ(kernel.simd_width(), 32u);
}

TEST_F(KernelTest, RmsNormInEveryOrderOfLanes) {
  constexpr std::size_t kRows = 5, kColumns = 77;
  const auto x = numbers(kRows * kColumns);
  std::vector<Half> weight(kColumns);
  for (std::size_t i = 0; i < kColumns; ++i) weight[i] = Half(0.5f + static_cast<float>(i) / 64);
  const Buffer bx = upload(x), bw = upload(weight), by = device().buffer(x.size() * 4);
  struct Params {
    std::uint32_t columns;
    float eps;
  };
  for (const std::uint64_t seed : {0u, 1u, 99u}) {
    softmetal::set_lane_seed(seed);
    run(pipeline("rms_norm"), [&](ComputeEncoder& encoder) {
      encoder.set_buffer(bx, 0, 0);
      encoder.set_buffer(bw, 0, 1);
      encoder.set_buffer(by, 0, 2);
      set_value(encoder, Params{kColumns, 1e-5f}, 3);
      encoder.dispatch_threadgroups({kRows}, {96});
    });
    const auto y = download<float>(by, x.size());
    for (std::size_t r = 0; r < kRows; ++r) {
      double sum = 0;
      for (std::size_t c = 0; c < kColumns; ++c)
        sum += double{x[r * kColumns + c]} * x[r * kColumns + c];
      const double scale = 1 / std::sqrt(sum / kColumns + 1e-5);
      for (std::size_t c = 0; c < kColumns; ++c) {
        ASSERT_NEAR(y[r * kColumns + c],
                    x[r * kColumns + c] * scale * static_cast<float>(weight[c]), 2e-6);
      }
    }
  }
}

TEST_F(KernelTest, SoftmaxInMemoryThatTheHostSizes) {
  constexpr std::size_t kRows = 3, kColumns = 1000;
  const auto x = numbers(kRows * kColumns);
  const Buffer bx = upload(x), by = device().buffer(x.size() * 4);
  run(pipeline("softmax"), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(bx, 0, 0);
    encoder.set_buffer(by, 0, 1);
    set_value(encoder, std::uint32_t{kColumns}, 2);
    encoder.set_threadgroup_memory(256 * 4, 0);
    encoder.dispatch_threadgroups({kRows}, {256});
  });
  const auto y = download<float>(by, x.size());
  for (std::size_t r = 0; r < kRows; ++r) {
    double sum = 0;
    for (std::size_t c = 0; c < kColumns; ++c) sum += std::exp(double{x[r * kColumns + c]});
    for (std::size_t c = 0; c < kColumns; ++c) {
      ASSERT_NEAR(y[r * kColumns + c], std::exp(double{x[r * kColumns + c]}) / sum, 1e-8);
    }
  }
}

TEST_F(KernelTest, MatmulBySimdgroupMatrices) {
  struct Params {
    std::uint32_t M, N, K;
  };
  const Params p{45, 70, 19};
  const auto a = numbers(p.M * p.K), b = numbers(p.K * p.N);
  const Buffer ba = upload(a), bb = upload(b), bc = device().buffer(p.M * p.N * 4);
  run(pipeline("matmul"), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(ba, 0, 0);
    encoder.set_buffer(bb, 0, 1);
    encoder.set_buffer(bc, 0, 2);
    set_value(encoder, p, 3);
    encoder.dispatch_threadgroups({3, 2}, {128});
  });
  const auto c = download<float>(bc, p.M * p.N);
  for (std::size_t i = 0; i < p.M; ++i) {
    for (std::size_t j = 0; j < p.N; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < p.K; ++k) sum += double{a[i * p.K + k]} * b[k * p.N + j];
      ASSERT_NEAR(c[i * p.N + j], sum, 2e-5);
    }
  }
}

TEST_F(KernelTest, VectorsSwizzleAndConvert) {
  const std::vector<float> x{1, 2, 3, 4, -5, 6, -7, 8};
  const Buffer bx = upload(x), by = device().buffer(16), dots = device().buffer(8);
  run(pipeline("vectors"), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(bx, 0, 0);
    encoder.set_buffer(by, 0, 1);
    encoder.set_buffer(dots, 0, 2);
    encoder.dispatch_threads({2}, {2});
  });
  const auto y = download<Half>(by, 8);
  const float expected[] = {0, 2, 1, 2, 1, 2, -5, 6};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(static_cast<float>(y[i]), expected[i]) << i;
  const auto d = download<float>(dots, 2);
  EXPECT_EQ(d[0], (1 * 2 + 2 * 1 + 3 * 2 + 4 * 0) + 1 + 1 + 4);
  EXPECT_EQ(d[1], (-5 * 6 + 6 * -5 + -7 * 2 + 8 * 1) + 1 - 1 + 8);
}

TEST_F(KernelTest, ATemplateHasOneKernelForEachHostName) {
  std::vector<BFloat16> x;
  for (int i = 0; i < 300; ++i) x.emplace_back(static_cast<float>(i));
  const Buffer bx = upload(x), count = upload(std::vector<std::uint32_t>{5});
  run(pipeline("scale_bf16"), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(bx, 0, 0);
    set_value(encoder, 0.5f, 1);
    encoder.set_buffer(count, 0, 2);
    encoder.dispatch_threads({256}, {64});
  });
  EXPECT_EQ(download<std::uint32_t>(count, 1)[0], 5u + 256);
  const auto y = download<BFloat16>(bx, 300);
  EXPECT_EQ(static_cast<float>(y[255]),
            static_cast<float>(BFloat16(static_cast<float>(x[255]) * 0.5f)));
  EXPECT_EQ(static_cast<float>(y[256]), 256.0f) << "the grid ended before";
}

TEST_F(KernelTest, FunctionConstantsSpecialiseAKernel) {
  const auto with = [&](const FunctionConstants& constants) {
    const Buffer x = upload(std::vector<float>{1, 2, 3});
    run(device().pipeline(all().function("constants_used", constants)),
        [&](ComputeEncoder& encoder) {
          encoder.set_buffer(x, 0, 0);
          encoder.dispatch_threads({3}, {3});
        });
    return download<float>(x, 3);
  };
  EXPECT_EQ(with(FunctionConstants().set(0, false).set(3, 0.5f)),
            (std::vector<float>{1.5, 2.5, 3.5}));
  EXPECT_EQ(with(FunctionConstants().set(0, true)), (std::vector<float>{99, 98, 97}));
  EXPECT_TEXT(error_of([&] { all().function("constants_used"); }).what(),
              "function constant 0 (kNegate) has no value");
  EXPECT_TEXT(
      error_of([&] { all().function("needs_unused", FunctionConstants().set(0, true)); }).what(),
      "kUnused");
  const Error type =
      error_of([&] { all().function("constants_used", FunctionConstants().set(0, 1.0f)); });
  EXPECT_EQ(type.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(type.what(), "kNegate");
}

TEST_F(KernelTest, AGridThatNoThreadgroupDivides) {
  constexpr std::uint32_t kX = 7, kY = 5;
  for (const std::uint64_t seed : {0u, 12345u}) {
    softmetal::set_lane_seed(seed);
    const Buffer in_grid = upload(std::vector<std::uint32_t>(kX * kY)),
                 extents = upload(std::vector<std::uint32_t>(4));
    run(pipeline("places"), [&](ComputeEncoder& encoder) {
      encoder.set_buffer(in_grid, 0, 0);
      encoder.set_buffer(extents, 0, 1);
      encoder.dispatch_threads({kX, kY}, {4, 3});
    });
    std::vector<std::uint32_t> once(kX * kY);
    std::iota(once.begin(), once.end(), 1u);
    EXPECT_EQ(download<std::uint32_t>(in_grid, kX * kY), once);
    EXPECT_EQ(download<std::uint32_t>(extents, 4),
              (std::vector<std::uint32_t>{403, 303, 402, 302}));
  }
}

TEST_F(KernelTest, LanesExchangeValues) {
  std::vector<int> x(32);
  std::iota(x.begin(), x.end(), 0);
  const Buffer bx = upload(x), by = device().buffer(32 * 6 * 4);
  softmetal::set_lane_seed(7);
  run(pipeline("lanes"), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(bx, 0, 0);
    encoder.set_buffer(by, 0, 1);
    encoder.dispatch_threads({32}, {32});
  });
  const auto y = download<int>(by, 32 * 6);
  for (int i = 0; i < 32; ++i) {
    const int* got = y.data() + i * 6;
    EXPECT_EQ(got[0], i ^ 1);
    EXPECT_EQ(got[1], i + 4 < 32 ? i + 4 : i);
    EXPECT_EQ(got[2], i * (i + 1) / 2);
    EXPECT_EQ(got[3], 7);
    EXPECT_EQ(got[4], 31);
    EXPECT_EQ(got[5], i);
  }
}

// ---- refusals

/// The error of compiling a source.
std::string compile_error(const Device& device, const std::string& source) {
  const Error error = error_of(
      [&] { device.library("#include <metal_stdlib>\nusing namespace metal;\n" + source); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  return error.what();
}

TEST_F(KernelTest, SourcesThatAreNotMetalDoNotCompile) {
  const struct {
    const char* source;
    const char* part;
  } cases[] = {
      {"kernel void f(device float* x [[buffer(0)]]) { double d = 1; x[0] = d; }",
       "program_source:3: error: 'double'"},
      {"kernel void f(device float* x [[buffer(0)]]) { x[0] = std::exp(1.0f); }", "'std'"},
      {"kernel void f(float* x [[buffer(0)]], device float* y [[buffer(1)]]) { float* z = y; x = "
       "z; }",
       "program_source:3:46: error: cannot initialize"},
      {"kernel void f(constant float* x [[buffer(0)]]) { x[0] = 1; }", "read-only"},
      {"kernel void f(device const float* x [[buffer(0)]]) { x[0] = 1; }", "read-only"},
      {"kernel int f(device float* x [[buffer(0)]]) { return 1; }", "returns void"},
      {"kernel void f(device float* x) {}", "no attribute"},
      {"kernel void f(device float* x [[buffer(31)]]) {}", "between 0 and 30"},
      {"kernel void f(device float* x [[buffer(0)]], uint i [[position]]) {}", "position"},
      {"kernel void f(device float* x [[buffer(0)]]) { threadgroup float t[4] = {}; x[0] = t[0]; }",
       "initial value"},
      {"kernel void f(device float* x [[buffer(0)]]) { if constexpr (true) x[0] = 1; }",
       "constexpr"},
      {"kernel void f(device float* x [[buffer(0)]]) { x[0] = nonsense; }", "nonsense"},
      {"#error as asked\n", "as asked"},
      {"constant bool a [[function_constant(0)]];\nconstant bool b = a;",
       "constant made of function constants"},
  };
  for (const auto& [source, part] : cases) EXPECT_TEXT(compile_error(device(), source), part);
}

TEST_F(KernelTest, DivergentBarriersAndLanesAreFound) {
  const Library library = device().library(R"(#include <metal_stdlib>
using namespace metal;
kernel void skipped(device float* x [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  if (i < 3) threadgroup_barrier(mem_flags::mem_none);
  x[i] = 1;
}
kernel void returned(device float* x [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  if (i == 2) return;
  threadgroup_barrier(mem_flags::mem_none);
  x[i] = 1;
}
kernel void different(device float* x [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  if (i < 3) {
    threadgroup_barrier(mem_flags::mem_none);
  } else {
    threadgroup_barrier(mem_flags::mem_none);
  }
  x[i] = 1;
}
kernel void lanes_apart(device float* x [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) {
  float s = 0;
  if (i < 3) {
    s = simd_sum(1.0f);
  } else {
    s = simd_max(1.0f);
  }
  x[i] = s;
}
kernel void right(device float* x [[buffer(0)]], uint i [[thread_position_in_threadgroup]]) { x[i] = 2; }
)");
  const Buffer x = device().buffer(4096);
  const auto failure = [&](const char* name) {
    const ComputePipeline kernel = device().pipeline(library.function(name));
    const Error error = error_of([&] {
      run(kernel, [&](ComputeEncoder& encoder) {
        encoder.set_buffer(x, 0, 0);
        encoder.dispatch_threadgroups({1}, {32});
      });
    });
    EXPECT_EQ(error.kind(), ErrorKind::kBackend);
    EXPECT_TEXT(error.what(), name);
    return std::string(error.what());
  };
  EXPECT_TEXT(failure("skipped"), "threadgroup_barrier");
  EXPECT_TEXT(failure("returned"), "threadgroup_barrier");
  EXPECT_TEXT(failure("different"), "different threadgroup_barriers");
  EXPECT_TEXT(failure("lanes_apart"), "different operations");
  // Threads that never ended are forgotten; the next kernel runs.
  run(device().pipeline(library.function("right")), [&](ComputeEncoder& encoder) {
    encoder.set_buffer(x, 0, 0);
    encoder.dispatch_threadgroups({1}, {32});
  });
  EXPECT_EQ(download<float>(x, 32), std::vector<float>(32, 2.0f));
}

TEST_F(KernelTest, AMissingBarrierShowsInAnotherOrderOfLanes) {
  const Library library = device().library(
      "#include <metal_stdlib>\nusing namespace metal;\nkernel void reversed(device uint* x "
      "[[buffer(0)]], "
      "uint i [[thread_position_in_threadgroup]]) { threadgroup uint t[64]; t[i] = i; x[i] = t[63 "
      "- i]; }");
  const ComputePipeline kernel = device().pipeline(library.function("reversed"));
  std::vector<std::uint32_t> right(64);
  for (std::uint32_t i = 0; i < 64; ++i) right[i] = 63 - i;
  const Buffer x = device().buffer(256);
  run(kernel, [&](ComputeEncoder& encoder) {
    encoder.set_buffer(x, 0, 0);
    encoder.dispatch_threadgroups({1}, {64});
  });
  EXPECT_NE(download<std::uint32_t>(x, 64), right)
      << "poisoned memory must show that nobody waited";
}

// Dispatches of a concurrent encoder may run in any order, and those of a serial one in theirs alone.
TEST_F(KernelTest, AMissingBarrierBetweenDispatchesShowsInAnotherOrder) {
  const Library library = device().library(R"(#include <metal_stdlib>
using namespace metal;
kernel void twice(device int* x [[buffer(0)]]) { x[0] = x[0] * 2; }
kernel void more(device int* x [[buffer(0)]]) { x[0] = x[0] + 1; }
)");
  const ComputePipeline twice = device().pipeline(library.function("twice"));
  const ComputePipeline more = device().pipeline(library.function("more"));
  const auto results = [&](bool concurrent, bool barrier) {
    std::set<int> found;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      softmetal::set_lane_seed(seed);
      const Buffer x = upload<int>({1});
      CommandBuffer work = device().queue().command_buffer();
      {
        ComputeEncoder encoder = work.compute_encoder(concurrent);
        encoder.set_buffer(x, 0, 0);
        encoder.set_pipeline(twice);
        encoder.dispatch_threads({1}, {1});
        if (barrier) encoder.barrier();
        encoder.set_pipeline(more);
        encoder.dispatch_threads({1}, {1});
      }
      work.commit();
      work.wait();
      found.insert(download<int>(x, 1)[0]);
    }
    return found;
  };
  EXPECT_EQ(results(true, false), (std::set<int>{3, 4}));
  EXPECT_EQ(results(true, true), std::set<int>{3});
  EXPECT_EQ(results(false, false), std::set<int>{3});
}

TEST_F(KernelTest, LimitsAreRefusedBeforeTheDispatch) {
  const CommandQueue queue = device().queue();
  CommandBuffer work = queue.command_buffer();
  ComputeEncoder encoder = work.compute_encoder();
  encoder.set_pipeline(pipeline("softmax"));
  const Error threads = error_of([&] { encoder.dispatch_threadgroups({1}, {1025}); });
  EXPECT_EQ(threads.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(threads.what(), "softmax runs at most 1024 threads in a threadgroup; got 1025x1x1");
  EXPECT_TEXT(error_of([&] { encoder.dispatch_threads({0}, {32}); }).what(), "must not be empty");
  EXPECT_TEXT(error_of([&] { encoder.dispatch_threads({std::uint64_t{1} << 33}, {32}); }).what(),
              "2^32");
  encoder.set_pipeline(pipeline("matmul"));
  encoder.set_threadgroup_memory(32768, 0);
  EXPECT_TEXT(error_of([&] { encoder.dispatch_threadgroups({1}, {128}); }).what(),
              "at most 32768 bytes");
  // What the kernel's parameters ask for is known to softmetal alone.
  encoder.set_threadgroup_memory(0, 0);
  EXPECT_TEXT(fault_of([&] { encoder.dispatch_threadgroups({1}, {128}); }),
              "matmul: buffer 0 is not bound");
  const Buffer small = device().buffer(8);
  for (std::uint32_t i = 0; i < 4; ++i) encoder.set_buffer(small, 0, i);
  EXPECT_TEXT(fault_of([&] { encoder.dispatch_threadgroups({1}, {128}); }),
              "buffer 3 needs 12 bytes, it has 8");
  const std::vector<std::byte> bytes(16);
  encoder.set_bytes(bytes, 2);
  encoder.set_bytes(bytes, 3);
  EXPECT_TEXT(fault_of([&] { encoder.dispatch_threadgroups({1}, {128}); }), "may be written");
}

TEST_F(KernelTest, TooMuchThreadgroupMemoryMakesNoPipeline) {
  const Library library = device().library(
      "#include <metal_stdlib>\nusing namespace metal;\nkernel void big(device float* x "
      "[[buffer(0)]]) { threadgroup "
      "float t[8193]; t[0] = x[0]; x[1] = t[0]; }");
  const Error error = error_of([&] { device().pipeline(library.function("big")); });
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_TEXT(error.what(), "32772 bytes");
}

TEST_F(KernelTest, MacrosReachTheSourceAndTheCacheKeepsItsResults) {
  const std::string source =
      "#include <metal_stdlib>\nusing namespace metal;\nkernel void f(device int* x [[buffer(0)]]) "
      "{ x[0] = VALUE; }";
  const auto value = [&](const char* macro) {
    const Library library = device().library(source, {.macros = {{"VALUE", macro}}});
    const Buffer x = device().buffer(4);
    run(device().pipeline(library.function("f")), [&](ComputeEncoder& encoder) {
      encoder.set_buffer(x, 0, 0);
      encoder.dispatch_threads({1}, {1});
    });
    return download<int>(x, 1)[0];
  };
  EXPECT_EQ(value("41"), 41);
  EXPECT_EQ(value("42"), 42);
  const auto before = softmetal::counters();
  EXPECT_EQ(value("42"), 42);
  EXPECT_EQ(softmetal::counters().shader_compiles, before.shader_compiles);
  EXPECT_EQ(softmetal::counters().libraries, before.libraries + 1);
}

TEST_F(KernelTest, ACacheThatOthersMayWriteToIsNotUsed) {
  namespace fs = std::filesystem;
  const std::string usual = std::getenv("SOFTMETAL_CACHE");
  const fs::path open = fs::path(usual) / ("open-" + std::to_string(getpid()));
  fs::create_directories(open);
  fs::permissions(open, fs::perms::all);
  setenv("SOFTMETAL_CACHE", open.c_str(), 1);
  const Error error = error_of([&] { device().library("kernel void f() {}"); });
  setenv("SOFTMETAL_CACHE", usual.c_str(), 1);
  fs::remove_all(open);
  EXPECT_EQ(error.kind(), ErrorKind::kBackend);
  EXPECT_TEXT(error.what(), "nobody else may write there");
}

TEST_F(KernelTest, InjectedFailuresOfCompilationAreErrors) {
  softmetal::inject({.pipeline = 1, .library = 1});
  EXPECT_EQ(error_of([&] { device().library("kernel void f() {}"); }).kind(), ErrorKind::kBackend);
  const Function function = all().function("softmax");
  EXPECT_EQ(error_of([&] { device().pipeline(function); }).kind(), ErrorKind::kBackend);
  EXPECT_NO_THROW(device().pipeline(function));
}

}  // namespace
}  // namespace wick::test

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/products.hpp"
#include "backends/mps/tuner.hpp"
#include "backends/mps/way_table.hpp"
#include "mps/mps_support.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/softmax_args.hpp"
#include "wick/runtime/settings.hpp"

// Which way a product goes: what is measured, stored, read back and used. The clock counts what softmetal was asked for, so
// that each kind of kernel is as slow as the test wants it to be.

namespace wick::test {
namespace {

namespace fs = std::filesystem;
using mps::CallShape;
using mps::ChoiceKernel;
using mps::Machine;
using mps::WayTable;

// ---- the table and its file

CallShape square(std::int64_t size) { return {.M = size, .N = size, .K = size}; }

class WayFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "wick-ways-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    file_ = folder_ / "cache" / "mps-ways.json";
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string text_of(const fs::path& path) {
    std::ifstream stream(path);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void write(const std::string& text) const {
    fs::create_directories(file_.parent_path());
    std::ofstream(file_) << text;
  }
  Error refusal(const std::string& text) const {
    write(text);
    return error_of([&] { mps::load_ways(file_, kHere); });
  }
  static std::string file_with(const std::string& way) {
    return R"({"format": "wick ways", "machines": [{"version": 2, "device": "GPU", "system": "1.0", "ways": [)" +
           way + "]}]}";
  }

  static inline const Machine kHere{"GPU", "1.0"};
  fs::path folder_, file_;
};

TEST(WayTable, HoldsForAllShapesThatRoundAlike) {
  WayTable table;
  EXPECT_EQ(table.choose(square(64)), "");
  table.set(square(100), "tiles");
  EXPECT_EQ(table.choose(square(128)), "tiles");
  EXPECT_EQ(table.choose(square(65)), "tiles");
  EXPECT_EQ(table.choose(square(64)), "");
  EXPECT_EQ(table.choose(square(129)), "");
  CallShape other = square(100);
  other.b = DType::kF16;
  EXPECT_EQ(table.choose(other), "");
  other = square(100);
  other.b_by_columns = true;
  EXPECT_EQ(table.choose(other), "");
  table.set(square(70), "mps");
  EXPECT_EQ(table.choose(square(100)), "mps");
  table.set(square(128), "");
  EXPECT_TRUE(table.empty());
  EXPECT_TEXT(error_of([&] { table.set(square(8), "fused"); }).what(),
              "matmul has no way \"fused\"");
}

TEST(WayTable, RoundsSizesUpToPowersOfTwo) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const CallShape shape = mps::rounded({.G = 1, .M = 5, .N = 4096, .K = kMost, .R = 0});
  EXPECT_EQ(shape, (CallShape{.G = 1, .M = 8, .N = 4096, .K = std::int64_t{1} << 62, .R = 0}));
}

TEST(WayTable, DescribesProductsAndRows) {
  EXPECT_EQ(
      mps::describe({.G = 2, .M = 4, .N = 8, .K = 16, .b_by_columns = true, .b_shared = true}),
      "2 · [4,16] x [8,16]ᵀ f32, f32 → f32");
  EXPECT_EQ(mps::describe({.kernel = ChoiceKernel::kSoftmax, .M = 4, .N = 8, .a = DType::kF16}),
            "[4,8] f16");
}

TEST_F(WayFileTest, ComesBackAsItWasWritten) {
  WayTable table;
  table.set({.kernel = ChoiceKernel::kLoraLinear,
             .M = 300,
             .N = 20,
             .K = 7,
             .R = 16,
             .a = DType::kBF16,
             .b = DType::kF16,
             .c = DType::kBF16,
             .b_by_columns = true,
             .has_bias = true},
            "fused");
  table.set({.kernel = ChoiceKernel::kLogSoftmaxBackward, .M = 40, .N = 1000}, "mps");
  table.set({.G = 4, .M = 8, .N = 8, .K = 8, .b_shared = true}, "mps_array");
  table.set(square(64), "tiles");
  EXPECT_EQ(mps::load_ways(file_, kHere).size(), 0U) << "there is no file yet";
  EXPECT_EQ(mps::store_ways(file_, kHere, table), "");
  EXPECT_EQ(mps::load_ways(file_, kHere).ways(), table.ways());
  EXPECT_TRUE(mps::load_ways(file_, {"GPU", "1.1"}).empty()) << "another system";
  EXPECT_TRUE(mps::load_ways(file_, {"other", "1.0"}).empty()) << "another GPU";
  EXPECT_EQ(std::distance(fs::directory_iterator(file_.parent_path()), {}), 1) << "no other file";
}

TEST_F(WayFileTest, OtherMachinesKeepWhatTheyHave) {
  WayTable first, second;
  first.set(square(64), "tiles");
  second.set(square(64), "mps");
  mps::store_ways(file_, {"other", "1.0"}, first);
  mps::store_ways(file_, kHere, first);
  mps::store_ways(file_, kHere, second);
  EXPECT_EQ(mps::load_ways(file_, {"other", "1.0"}).ways(), first.ways());
  EXPECT_EQ(mps::load_ways(file_, kHere).ways(), second.ways());
}

TEST_F(WayFileTest, ATableOfAnotherVersionIsLeftAlone) {
  const std::string later =
      R"({"version": 3, "device": "GPU", "system": "1.0", "ways": "written otherwise"})";
  write(R"({"format": "wick ways", "machines": [)" + later + "]}");
  EXPECT_TRUE(mps::load_ways(file_, kHere).empty());
  EXPECT_EQ(mps::store_ways(file_, kHere, {}), "");
  EXPECT_TEXT(text_of(file_), "written otherwise");
}

TEST_F(WayFileTest, WhatIsWrongIsNamed) {
  const std::string good =
      R"("kernel":"matmul","G":1,"M":8,"N":8,"K":8,"R":0,"a":"f32","b":"f32","c":"f32","update":"f32")";
  write(file_with("{" + good + R"(,"way":"mps"})"));
  EXPECT_EQ(mps::load_ways(file_, kHere).choose(square(8)), "mps");
  const std::pair<std::string, const char*> cases[] = {
      {"", "byte 0"},
      {"{\"format\": \"wick ways\"", "byte"},
      {"[]", "must be a JSON object"},
      {R"({"format": "tea"})", "must be \"wick ways\""},
      {R"({"format": "wick ways"})", "machines"},
      {R"({"format": "wick ways", "machines": 3})", "must be a list, got 3"},
      {R"({"format": "wick ways", "machines": [3]})", "must be a JSON object"},
      {R"({"format": "wick ways", "machines": [{"version": 2, "device": "GPU"}]})", "system"},
      {file_with("{}"), "way 1: kernel"},
      {file_with("{" + good + "}"), "way 1: way"},
      {file_with("{" + good + R"(,"way":"fused"})"), "is no way of matmul"},
      {file_with(R"({"kernel":"silu"})"), "is no kernel that has several ways"},
      {file_with(R"({"kernel":"matmul","G":1,"M":7})"), "M: must be 0 or a power of two"},
      {file_with(R"({"kernel":"matmul","G":-1})"), "G: must be 0 or a power of two"},
      {file_with(R"({"kernel":"matmul","G":1,"M":1,"N":1,"K":1,"R":0,"a":"f64"})"),
       "a: must be a dtype"},
  };
  for (const auto& [text, part] : cases) {
    SCOPED_TRACE(text);
    const Error error = refusal(text);
    EXPECT_EQ(error.kind(), ErrorKind::kParse);
    EXPECT_TEXT(error.what(), file_.string());
    EXPECT_TEXT(error.what(), part);
  }
}

TEST_F(WayFileTest, AFileOfAnotherContentIsReplaced) {
  write("not JSON");
  WayTable table;
  table.set(square(64), "tiles");
  EXPECT_TEXT(mps::store_ways(file_, kHere, table), "byte 1");
  EXPECT_EQ(mps::load_ways(file_, kHere).ways(), table.ways());
}

TEST_F(WayFileTest, AFolderThatCannotBeMadeIsAnError) {
  std::ofstream(folder_ / "cache") << "a file";
  EXPECT_EQ(error_of([&] { mps::store_ways(file_, kHere, {}); }).kind(), ErrorKind::kIo);
  fs::remove(folder_ / "cache");
  fs::create_directories(file_);
  EXPECT_EQ(error_of([&] { mps::load_ways(file_, kHere); }).kind(), ErrorKind::kIo);
}

// ---- the verdict

TEST(BestWay, OnlyAClearGainReplacesWhatIsTakenOtherwise) {
  using Times = std::vector<double>;
  const auto best = [](const Times& mps, const Times& tiles) {
    return mps::best_way({{"mps", mps}, {"tiles", tiles}}, "mps");
  };
  EXPECT_EQ(best({10, 10, 10}, {5, 5, 5}), "tiles");
  EXPECT_EQ(best({10, 10, 10}, {10, 10, 10}), "mps") << "a tie";
  EXPECT_EQ(best({10, 10, 10}, {9.6, 9.6, 9.6}), "mps") << "less than 5 %";
  EXPECT_EQ(best({10, 10, 10}, {9.4, 9.4, 9.4}), "tiles");
  EXPECT_EQ(best({10, 30, 30}, {10, 10, 10}), "mps") << "one quiet round shows what it can do";
  EXPECT_EQ(best({10, 10, 10}, {1, 12, 12}), "mps") << "one lucky round";
  EXPECT_EQ(mps::best_way({{"few_rows", {8}}, {"mps", {10}}, {"tiles", {7}}}, "mps"), "tiles");
  EXPECT_EQ(best({10}, {std::numeric_limits<double>::quiet_NaN()}), "mps");
}

// ---- measured, stored, used

// Sets the folder of the user's cache while a test runs.
class TuneTest : public OwnMpsTest {
 protected:
  void SetUp() override {
    OwnMpsTest::SetUp();
    std::string name = (fs::temp_directory_path() / "wick-tune-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    const char* const before = std::getenv("XDG_CACHE_HOME");
    if (before != nullptr) before_ = before;
    setenv("XDG_CACHE_HOME", name.c_str(), 1);
  }
  void TearDown() override {
    if (before_) {
      setenv("XDG_CACHE_HOME", before_->c_str(), 1);
    } else {
      unsetenv("XDG_CACHE_HOME");
    }
    for (const char* kernel : {"matmul", "lora_linear", "lora_linear_backward", "softmax",
                               "softmax_backward", "log_softmax", "log_softmax_backward"}) {
      force_variant(kernel, "");
    }
    fs::remove_all(folder_);
    OwnMpsTest::TearDown();
  }

  fs::path file() const { return folder_ / "wick" / "mps-ways.json"; }

  // [size,size] x [size,size] on a backend.
  static void multiply(mps::MpsBackend& backend, std::int64_t size) {
    Stream& stream = backend.default_stream();
    const mps::Scratch memory(stream, static_cast<std::size_t>(3 * size * size) * sizeof(float));
    mps::mps_stream(stream).fill(memory.data(), std::byte{0},
                                 static_cast<std::size_t>(3 * size * size) * sizeof(float));
    auto* const first = static_cast<float*>(memory.data());
    const mps::Product product{.M = size,
                               .N = size,
                               .K = size,
                               .a = {.data = first, .row_stride = size},
                               .b = {.data = first + size * size, .row_stride = size},
                               .c = first + 2 * size * size,
                               .c_row_stride = size};
    EXPECT_TRUE(mps::multiply(stream, product).is_ok());
    stream.synchronize();
  }
  // Which kind of kernel a product of this size is.
  static std::string way_taken(mps::MpsBackend& backend, std::int64_t size) {
    const softmetal::Counters before = softmetal::counters();
    multiply(backend, size);
    const softmetal::Counters after = softmetal::counters();
    if (after.mps_encodes == before.mps_encodes + 1) return "mps";
    return after.dispatches == before.dispatches + 1 ? "tiles" : "neither";
  }
  // A clock by which a kernel of MPS and one of ours take so many seconds.
  static TuneOptions clock_of(double mps, double ours) {
    return {.clock = [=] {
      const softmetal::Counters now = softmetal::counters();
      return mps * static_cast<double>(now.mps_encodes) +
             ours * static_cast<double>(now.dispatches);
    }};
  }
  TuneReport tune_product(std::int64_t size, const TuneOptions& options) {
    return backend().tune([&] { multiply(backend(), size); }, options);
  }

  fs::path folder_;
  std::optional<std::string> before_;
};

constexpr std::int64_t kLarge = 64;  // by MPS where nothing was measured
constexpr std::int64_t kSmall = 32;  // by tiles

TEST_F(TuneTest, TheFasterWayIsStoredReadBackAndUsed) {
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  const TuneReport report = tune_product(kLarge, clock_of(10, 1));
  ASSERT_EQ(report.calls.size(), 1U);
  const TunedCall& call = report.calls[0];
  EXPECT_EQ(call.kernel, "matmul");
  EXPECT_EQ(call.shape, "[64,64] x [64,64] f32, f32 → f32");
  EXPECT_EQ(call.otherwise, "mps");
  EXPECT_EQ(call.chosen, "tiles");
  EXPECT_EQ(call.seconds, (std::vector<std::pair<std::string, double>>{{"mps", 10}, {"tiles", 1}}));
  EXPECT_EQ(report.file, file());
  EXPECT_EQ(report.note, "");
  EXPECT_EQ(way_taken(backend(), kLarge), "tiles") << "this process uses it at once";
  mps::MpsBackend later;
  EXPECT_EQ(way_taken(later, kLarge), "tiles") << "and the next";
  EXPECT_EQ(way_taken(later, 2 * kLarge), "mps") << "another shape";
  EXPECT_TEXT(later.description(), "1 ways as measured");
}

TEST_F(TuneTest, ASmallProductCanGoByMps) {
  EXPECT_EQ(way_taken(backend(), kSmall), "tiles");
  EXPECT_EQ(tune_product(kSmall, clock_of(1, 10)).calls.at(0).chosen, "mps");
  EXPECT_EQ(way_taken(backend(), kSmall), "mps");
}

TEST_F(TuneTest, TiesAndLaterMeasurementsGiveTheDefaultBack) {
  EXPECT_EQ(tune_product(kLarge, clock_of(1, 1)).calls.at(0).chosen, "mps");
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  tune_product(kLarge, clock_of(10, 1));
  EXPECT_EQ(way_taken(backend(), kLarge), "tiles");
  tune_product(kLarge, clock_of(1, 1));
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  mps::MpsBackend later;
  EXPECT_EQ(way_taken(later, kLarge), "mps");
}

TEST_F(TuneTest, ShapesOfEarlierRunsStay) {
  tune_product(kLarge, clock_of(10, 1));
  tune_product(kSmall, clock_of(1, 10));
  mps::MpsBackend later;
  EXPECT_EQ(way_taken(later, kLarge), "tiles");
  EXPECT_EQ(way_taken(later, kSmall), "mps");
}

TEST_F(TuneTest, AForcedVariantWins) {
  tune_product(kLarge, clock_of(10, 1));
  force_variant("matmul", "mps");
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  force_variant("matmul", "");
  EXPECT_EQ(way_taken(backend(), kLarge), "tiles");
}

TEST_F(TuneTest, AWayThatRefusesTheStridesLeavesTheCallToTheOthers) {
  tune_product(kSmall, clock_of(1, 10));
  Stream& stream = backend().default_stream();
  const TensorView memory = floats(4 * kSmall * kSmall, 1);
  // Every second column: MPS knows no such matrix, and the shape is the one that was measured.
  const mps::Product product{
      .M = kSmall,
      .N = kSmall,
      .K = kSmall,
      .a = {.data = memory.data, .row_stride = 2 * kSmall, .column_stride = 2},
      .b = {.data = memory.data, .row_stride = kSmall},
      .c = static_cast<float*>(memory.data) + 3 * kSmall * kSmall,
      .c_row_stride = kSmall};
  const auto before = softmetal::counters();
  EXPECT_TRUE(mps::multiply(stream, product).is_ok());
  stream.synchronize();
  EXPECT_EQ(softmetal::counters().dispatches, before.dispatches + 1);
  EXPECT_EQ(read(memory).back(), static_cast<float>(kSmall));
}

TEST_F(TuneTest, AWayThatComputesSomethingElseIsNeverTaken) {
  const TuneOptions options = clock_of(1, 10);
  softmetal::inject({.mps_idle = true});
  const TunedCall large = tune_product(kLarge, options).calls.at(0);
  const TunedCall small = tune_product(kSmall, options).calls.at(0);
  softmetal::inject({});
  for (const TunedCall& call : {large, small}) {
    EXPECT_EQ(call.wrong, std::vector<std::string>{"mps"});
    EXPECT_EQ(call.chosen, "tiles");
    EXPECT_EQ(call.seconds.size(), 1U);
  }
  EXPECT_EQ(large.otherwise, "mps");
  EXPECT_EQ(small.otherwise, "tiles");
  EXPECT_EQ(way_taken(backend(), kLarge), "tiles") << "although MPS is what is taken otherwise";
  EXPECT_EQ(way_taken(backend(), kSmall), "tiles");
  const TunedCall again = tune_product(kLarge, options).calls.at(0);
  EXPECT_TRUE(again.wrong.empty());
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
}

// A product of a row, of a column, and of a batch that shares its second matrix.
class TuneVectorTest : public TuneTest {
 protected:
  static constexpr std::int64_t kK = 512, kN = 512, kG = 3;

  void SetUp() override {
    TuneTest::SetUp();
    matrix_ = floats(kK * kN, 0.5F);
    vector_ = floats(kG * kK, 2);
    result_ = floats(kG * kN, 0);
  }
  // w by rows, so that few_rows does not take it.
  mps::Product row() const {
    return {.M = 1,
            .N = kN,
            .K = kK,
            .a = {.data = vector_.data, .row_stride = kK},
            .b = {.data = matrix_.data, .row_stride = kN},
            .c = result_.data,
            .c_row_stride = kN};
  }
  mps::Product column() const {
    return {.M = kN,
            .N = 1,
            .K = kK,
            .a = {.data = matrix_.data, .row_stride = 1, .column_stride = kN},
            .b = {.data = vector_.data, .row_stride = 1},
            .c = result_.data,
            .c_row_stride = 1};
  }
  mps::Product batch() const {
    mps::Product product = row();
    product.G = kG;
    product.a.batch_stride = kK;
    product.c_batch_stride = kN;
    return product;
  }
  // Kernels of MPS that it takes, after it has given the right result.
  std::uint64_t encodes(const mps::Product& product) {
    const auto before = softmetal::counters().mps_encodes;
    EXPECT_TRUE(mps::multiply(stream(), product).is_ok());
    stream().synchronize();
    const std::vector<float> result = read(result_);
    for (std::int64_t i = 0; i < product.G * kN; ++i) {
      EXPECT_EQ(result[static_cast<std::size_t>(i)], static_cast<float>(kK)) << i;
    }
    return softmetal::counters().mps_encodes - before;
  }
  TunedCall tuned(const mps::Product& product, TuneOptions options) {
    options.rounds = 1;
    return backend().tune([&] { encodes(product); }, options).calls.at(0);
  }

  TensorView matrix_, vector_, result_;
};

TEST_F(TuneVectorTest, VectorsGoByMpsWhereFewRowsDoesNotTakeThem) {
  for (const mps::Product& product : {row(), column()}) {
    EXPECT_EQ(encodes(product), 1U);
    const auto kernels = softmetal::counters().mps_kernels;
    EXPECT_EQ(encodes(product), 1U);
    EXPECT_EQ(softmetal::counters().mps_kernels, kernels) << "it is made once";
    const TunedCall call = tuned(product, clock_of(10, 1));
    EXPECT_EQ(call.otherwise, "mps_vector");
    EXPECT_EQ(call.chosen, "tiles");
    EXPECT_EQ(encodes(product), 0U);
  }
  mps::Product by_columns = row();
  by_columns.b = {.data = matrix_.data, .row_stride = 1, .column_stride = kK};
  EXPECT_EQ(encodes(by_columns), 0U) << "few_rows has it";
  EXPECT_EQ(tuned(by_columns, clock_of(1, 10)).chosen, "mps");
}

TEST_F(TuneVectorTest, ABatchThatSharesAMatrixGoesByArraysWhereThatIsFaster) {
  EXPECT_EQ(encodes(batch()), 0U);
  const TunedCall call = tuned(batch(), clock_of(1, 10));
  EXPECT_EQ(call.shape, "4 · [1,512] x [512,512] f32, f32 → f32");
  EXPECT_EQ(call.otherwise, "tiles");
  EXPECT_EQ(call.chosen, "mps_array");
  EXPECT_EQ(encodes(batch()), 1U);
  const auto kernels = softmetal::counters().mps_kernels;
  EXPECT_EQ(encodes(batch()), 1U);
  EXPECT_EQ(softmetal::counters().mps_kernels, kernels);
}

// x [64,64], w [64,64] and an adapter of rank 4, forward and the gradient of x.
class TuneLoraTest : public TuneTest {
 protected:
  static constexpr std::int64_t kSize = 64, kRank = 4;

  TensorView matrix(std::int64_t rows, std::int64_t columns) {
    TensorView view = floats(rows * columns, 0.5F);
    view.shape = {rows, columns};
    view.strides = {columns, 1};
    return view;
  }
  void SetUp() override {
    TuneTest::SetUp();
    forward_ = {.x = matrix(kSize, kSize),
                .w = matrix(kSize, kSize),
                .a = matrix(kRank, kSize),
                .b = matrix(kSize, kRank),
                .out = matrix(kSize, kSize)};
    backward_ = {.dy = matrix(kSize, kSize),
                 .x = forward_.x,
                 .w = forward_.w,
                 .a = forward_.a,
                 .b = forward_.b,
                 .dx = matrix(kSize, kSize)};
  }
  void run() {
    EXPECT_TRUE(mps::lora_linear(stream(), forward_).is_ok());
    EXPECT_TRUE(mps::lora_linear_backward(stream(), backward_).is_ok());
    stream().synchronize();
  }
  // Products by MPS in run().
  std::uint64_t encodes() {
    const auto before = softmetal::counters().mps_encodes;
    run();
    return softmetal::counters().mps_encodes - before;
  }

  LoraLinearArgs forward_;
  LoraLinearBackwardArgs backward_;
};

TEST_F(TuneLoraTest, TheLayerWithItsAdapterAndItsGradientAreMeasuredEachForItself) {
  EXPECT_EQ(encodes(), 2U);
  const std::vector<float> out = read(forward_.out);
  const std::vector<float> dx = read(backward_.dx);
  const TuneReport report = backend().tune([&] { run(); }, clock_of(10, 1));
  std::map<std::string, std::string> chosen;
  for (const TunedCall& call : report.calls) chosen[call.kernel + " " + call.shape] = call.chosen;
  const std::map<std::string, std::string> expected{
      {"matmul [64,64] x [64,4] f32, f32 → f32", "tiles"},
      {"matmul [64,64] x [4,64]ᵀ f32, f32 → f32", "tiles"},
      {"lora_linear [64,64] x [64,64]ᵀ, r 4 f32 f32, f32 → f32", "fused"},
      {"lora_linear_backward [64,64] x [64,64], r 4 f32 f32, f32 → f32", "fused"}};
  EXPECT_EQ(chosen, expected);
  EXPECT_EQ(encodes(), 0U);
  EXPECT_EQ(read(forward_.out), out);
  EXPECT_EQ(read(backward_.dx), dx);
  force_variant("lora_linear_backward", "mps");
  EXPECT_EQ(encodes(), 1U);
  force_variant("lora_linear", "mps");
  EXPECT_EQ(encodes(), 2U);
}

// Softmax and its logarithm of rows, one of them hidden, and their gradients.
class TuneRowsTest : public TuneTest {
 protected:
  static constexpr std::int64_t kRows = 3, kColumns = 40;

  void SetUp() override {
    TuneTest::SetUp();
    for (TensorView* const view : {&x_, &y_, &log_, &dy_, &dx_, &dlog_}) {
      *view = floats(kRows * kColumns, 0.25F);
      view->shape = {kRows, kColumns};
      view->strides = {kColumns, 1};
    }
    const std::vector<float> hidden(kColumns, -std::numeric_limits<float>::infinity());
    backend().copy_from_host(stream(), static_cast<float*>(x_.data) + kColumns, hidden.data(),
                             kColumns * sizeof(float));
  }
  void run() {
    EXPECT_TRUE(mps::softmax(stream(), {.x = x_, .out = y_}).is_ok());
    EXPECT_TRUE(mps::log_softmax(stream(), {.x = x_, .out = log_}).is_ok());
    EXPECT_TRUE(mps::softmax_backward(stream(), {.dy = dy_, .y = y_, .dx = dx_}).is_ok());
    EXPECT_TRUE(mps::log_softmax_backward(stream(), {.dy = dy_, .y = log_, .dx = dlog_}).is_ok());
    stream().synchronize();
  }
  softmetal::Counters counted() {
    const auto before = softmetal::counters();
    run();
    const auto after = softmetal::counters();
    return {.host_waits = after.host_waits - before.host_waits,
            .compute_encoders = after.compute_encoders - before.compute_encoders,
            .dispatches = after.dispatches - before.dispatches,
            .mps_kernels = after.mps_kernels - before.mps_kernels,
            .mps_encodes = after.mps_encodes - before.mps_encodes};
  }
  void expect_right() {
    const std::vector<float> y = read(y_), log = read(log_), dx = read(dx_), dlog = read(dlog_);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const bool is_hidden = i / kColumns == 1;
      EXPECT_FLOAT_EQ(y[i], is_hidden ? 0 : 1.0F / kColumns) << i;
      EXPECT_FLOAT_EQ(log[i], is_hidden ? -std::numeric_limits<float>::infinity()
                                        : -std::log(static_cast<float>(kColumns)));
      EXPECT_NEAR(dx[i], 0, 1e-7) << i;
      EXPECT_NEAR(dlog[i], 0, 1e-6) << i;
    }
  }

  TensorView x_, y_, log_, dy_, dx_, dlog_;
};

TEST_F(TuneRowsTest, OurKernelsUntilMpsIsMeasuredToBeFaster) {
  softmetal::Counters made = counted();
  expect_right();
  EXPECT_EQ(made.mps_encodes, 0U);
  EXPECT_EQ(made.dispatches, 4U);
  EXPECT_EQ(made.compute_encoders, 1U);
  const TuneReport report = backend().tune([&] { run(); }, clock_of(1, 10));
  std::map<std::string, std::string> chosen;
  for (const TunedCall& call : report.calls) {
    EXPECT_TRUE(call.wrong.empty()) << call.kernel;
    chosen[call.kernel + " " + call.shape] = call.chosen;
  }
  // All but the gradient of softmax need a kernel of ours behind that of MPS, for rows that are hidden throughout.
  const std::map<std::string, std::string> expected{{"softmax [4,64] f32", "rows"},
                                                    {"softmax_backward [4,64] f32", "mps"},
                                                    {"log_softmax [4,64] f32", "rows"},
                                                    {"log_softmax_backward [4,64] f32", "rows"}};
  EXPECT_EQ(chosen, expected);
  EXPECT_EQ(counted().mps_encodes, 1U);
  expect_right();
  backend().tune([&] { run(); }, clock_of(1, 1));
  EXPECT_EQ(counted().mps_encodes, 0U);
}

TEST_F(TuneRowsTest, MpsMakesItsKernelsOnceAndWaitsForNothing) {
  for (const char* kernel :
       {"softmax", "softmax_backward", "log_softmax", "log_softmax_backward"}) {
    force_variant(kernel, "mps");
  }
  EXPECT_EQ(counted().mps_kernels, 4U);
  expect_right();
  const softmetal::Counters again = counted();
  EXPECT_EQ(again.mps_encodes, 4U);
  EXPECT_EQ(again.mps_kernels, 0U);
  EXPECT_EQ(again.dispatches, 3U);
  EXPECT_EQ(again.compute_encoders, 3U) << "one behind each kernel of MPS that has work of ours";
  EXPECT_EQ(again.host_waits, 1U) << "the test's own";
  expect_right();
}

TEST_F(TuneRowsTest, AKernelOfMpsThatComputesSomethingElseIsFound) {
  softmetal::inject({.mps_idle = true});
  const TuneReport report = backend().tune([&] { run(); }, clock_of(1, 10));
  softmetal::inject({});
  EXPECT_EQ(report.calls.size(), 4U);
  for (const TunedCall& call : report.calls) {
    EXPECT_EQ(call.wrong, std::vector<std::string>{"mps"}) << call.kernel;
    EXPECT_EQ(call.chosen, "rows");
  }
}

TEST_F(TuneTest, ABrokenFileIsIgnoredAndSaidSoAndReplacedByTheNextMeasurement) {
  fs::create_directories(file().parent_path());
  std::ofstream(file()) << "{";
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  EXPECT_TEXT(backend().description(), "what was measured is ignored: " + file().string());
  const TuneReport report = tune_product(kLarge, clock_of(10, 1));
  EXPECT_TEXT(report.note, file().string());
  EXPECT_EQ(way_taken(backend(), kLarge), "tiles");
  mps::MpsBackend later;
  EXPECT_EQ(way_taken(later, kLarge), "tiles");
  EXPECT_EQ(later.description().find("ignored"), std::string::npos);
}

TEST_F(TuneTest, NothingIsStoredWhereTheWorkFails) {
  const auto failing = [&] {
    multiply(backend(), kLarge);
    throw Error(ErrorKind::kArgument, "work", "failed");
  };
  EXPECT_TEXT(error_of([&] { backend().tune(failing, clock_of(10, 1)); }).what(), "work: failed");
  EXPECT_FALSE(fs::exists(file()));
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  EXPECT_EQ(backend().tune([] {}, clock_of(10, 1)).calls.size(), 0U)
      << "and nothing was kept of it";
}

TEST_F(TuneTest, WrongOptionsAndAMissingFolderAreErrors) {
  EXPECT_EQ(error_of([&] { backend().tune([] {}, {.rounds = 0}); }).kind(), ErrorKind::kArgument);
  EXPECT_EQ(error_of([&] { tune(kCpuDevice, [] {}); }).kind(), ErrorKind::kUnsupported);
  const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
  setenv("XDG_CACHE_HOME", "relative", 1);
  setenv("HOME", "", 1);
  EXPECT_EQ(error_of([&] { backend().tune([] {}, {}); }).kind(), ErrorKind::kIo);
  EXPECT_EQ(way_taken(backend(), kLarge), "mps");
  setenv("HOME", home.c_str(), 1);
}

}  // namespace
}  // namespace wick::test

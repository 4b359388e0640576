#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "backends/mps/mps_backend.hpp"
#include "layout/tensor_view.hpp"
#include "runtime/backend.hpp"
#include "softmetal/softmetal.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/runtime/stream.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick::test {

inline constexpr Device kMpsDevice{DeviceType::kMps, 0};

/// Nothing fails by order when a test begins, and no wrong call of Metal has come from one when it ends.
class MpsTest : public testing::Test {
 protected:
  void SetUp() override {
    softmetal::on_fault(softmetal::OnFault::kThrow);
    softmetal::inject({});
  }
  void TearDown() override {
    softmetal::inject({});
    synchronize(kMpsDevice);
    EXPECT_EQ(softmetal::late_faults(), std::vector<std::string>());
  }

  static Tensor numbers(const std::vector<float>& values) {
    return Tensor::from_values(values, {static_cast<std::int64_t>(values.size())}, kMpsDevice);
  }
};

/// A backend of its own beside the process's, so that nothing is cached in it; every object of Metal's that it made is gone
/// when the test ends.
class OwnMpsTest : public MpsTest {
 protected:
  void SetUp() override {
    MpsTest::SetUp();
    // What a process has one of, and keeps.
    static_cast<void>(device_description(kMpsDevice));
    softmetal::drain();
    before_ = softmetal::live_objects();
    backend_ = std::make_unique<mps::MpsBackend>();
  }
  void TearDown() override {
    softmetal::inject({});
    softmetal::drain();
    backend_.reset();
    softmetal::drain();
    EXPECT_EQ(softmetal::live_objects(), before_) << "objects were left alive";
    MpsTest::TearDown();
  }
  mps::MpsBackend& backend() { return *backend_; }
  Stream& stream() { return backend_->default_stream(); }

  /// `count` floats of the backend's memory while the test runs.
  TensorView floats(std::int64_t count, float value) {
    const Block block =
        backend_->allocator().allocate(static_cast<std::size_t>(count) * sizeof(float), stream());
    const std::vector<float> values(static_cast<std::size_t>(count), value);
    backend_->copy_from_host(stream(), block.data, values.data(), values.size() * sizeof(float));
    return {.data = block.data,
            .dtype = DType::kF32,
            .shape = {count},
            .strides = {1},
            .device = kMpsDevice,
            .present = true};
  }
  std::vector<float> read(const TensorView& view) {
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    backend_->copy_to_host(stream(), values.data(), view.data, values.size() * sizeof(float));
    return values;
  }

 private:
  std::map<std::string, long> before_;
  std::unique_ptr<mps::MpsBackend> backend_;
};

/// The Error that a call throws; fails the test when it throws none.
template <class F>
Error error_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no wick::Error was thrown";
  return {ErrorKind::kInternal, "", ""};
}

#define EXPECT_TEXT(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

}  // namespace wick::test

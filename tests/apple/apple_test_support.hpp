#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "softmetal/softmetal.hpp"
#include "wick/apple/metal.hpp"
#include "wick/base/error.hpp"

namespace wick::test {

/// Wrong calls throw, nothing fails by order, and no object may be left when a test ends.
class AppleTest : public testing::Test {
 protected:
  void SetUp() override {
    softmetal::on_fault(softmetal::OnFault::kThrow);
    softmetal::inject({});
    softmetal::set_lane_seed(0);
    device_ = apple::metal::Device::system_default();
    ASSERT_TRUE(device_.has_value());
    softmetal::drain();
    live_ = softmetal::live_objects();
  }
  void TearDown() override {
    softmetal::inject({});
    softmetal::drain();
    EXPECT_EQ(softmetal::live_objects(), live_) << "objects were left alive";
    EXPECT_EQ(softmetal::late_faults(), std::vector<std::string>());
  }
  const apple::metal::Device& device() const { return *device_; }

  template <class T>
  apple::metal::Buffer upload(const std::vector<T>& values) const {
    return device().buffer(std::as_bytes(std::span(values)));
  }
  template <class T>
  static std::vector<T> download(const apple::metal::Buffer& buffer, std::size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), buffer.contents(), count * sizeof(T));
    return values;
  }

 private:
  std::optional<apple::metal::Device> device_;
  std::map<std::string, long> live_;
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

/// The text of the Fault that a call throws; fails the test when it throws none.
template <class F>
std::string fault_of(F call) {
  try {
    call();
  } catch (const softmetal::Fault& fault) {
    return fault.what();
  }
  ADD_FAILURE() << "softmetal refused nothing";
  return {};
}

#define EXPECT_TEXT(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

}  // namespace wick::test

// Every case of every op: results, gradients, refusals. The tests are made from the case lists, one per op and dtype. They
// run on every device that computes but mps, or on that of --device alone: software Metal takes its time.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>

#include "harness/check_op.hpp"
#include "runtime/backend.hpp"

namespace wick::testing {

namespace {

// The devices of this run.
std::vector<Device>& tested_devices() {
  static std::vector<Device> devices = [] {
    std::vector<Device> found = computing_devices();
    std::erase_if(found, [](Device device) { return device.type == DeviceType::kMps; });
    return found;
  }();
  return devices;
}

void report(const std::vector<std::string>& failures) {
  for (const std::string& failure : failures) ADD_FAILURE() << failure;
}

// A test whose body is a function.
class FunctionTest : public ::testing::Test {
 public:
  explicit FunctionTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

void add_test(const std::string& suite, const std::string& name, std::function<void()> body) {
  ::testing::RegisterTest(suite.c_str(), name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [body = std::move(body)]() -> ::testing::Test* {
                            return std::make_unique<FunctionTest>(body).release();
                          });
}

template <class Check>
void for_each_case(const OpSpec& spec, DType dtype, const Check& check) {
  for (const OpCase& op_case : spec.cases) {
    if (!op_case.benchmark_only && takes(op_case, dtype)) check(op_case);
  }
}

// Checks what each of settings(device, op) can do of the cases. A variant may refuse calls that the others of its list take:
// how many is said.
template <class Settings, class Check>
void for_each_setting(const OpSpec& spec, DType dtype, const Settings& settings,
                      const Check& check) {
  for (const Device device : tested_devices()) {
    for (const std::string& setting : settings(device, spec.op)) {
      SCOPED_TRACE(setting);
      const ForcedSetting forced(setting);
      int refused = 0;
      for_each_case(spec, dtype, [&](const OpCase& op_case) {
        try {
          check(op_case, device);
        } catch (const Error& error) {
          if (setting.empty() || error.kind() != ErrorKind::kUnsupported) throw;
          ++refused;
        }
      });
      if (refused > 0) {
        fmt::print("{} {} on {}: {} refused {} cases\n", spec.op, to_string(dtype),
                   to_string(device), setting, refused);
      }
    }
  }
}

void forward(const OpSpec& spec, DType dtype) {
  std::map<const OpCase*, ReferenceResults> known;
  for_each_setting(spec, dtype, settings_for, [&](const OpCase& op_case, Device device) {
    report(check_forward(spec, op_case, dtype, device, known[&op_case]));
  });
}

void threads(const OpSpec& spec, DType dtype) {
  for_each_case(spec, dtype, [&](const OpCase& op_case) {
    report(check_threads(spec, op_case, dtype, kCpuDevice));
  });
}

void null_device(const OpSpec& spec, DType dtype) {
  for_each_case(spec, dtype,
                [&](const OpCase& op_case) { report(check_null_device(spec, op_case, dtype)); });
}

void gradient(const OpSpec& spec, DType dtype) {
  int checked = 0;
  std::map<const OpCase*, ReferenceResults> known;
  for_each_setting(spec, dtype, gradient_settings_for, [&](const OpCase& op_case, Device device) {
    if (!op_case.gradient) return;
    report(check_gradient(spec, op_case, dtype, device, known[&op_case]));
    ++checked;
  });
  EXPECT_GT(checked, 0) << spec.op << " has no gradient case for " << to_string(dtype);
}

void refusal(const std::string& op, const ErrorCase& error_case) {
  try {
    error_case.call();
    ADD_FAILURE() << op << " / " << error_case.name << ": nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.kind()), to_string(error_case.kind)) << error.what();
    for (const std::string& text : error_case.text) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
          << "\"" << text << "\" is not in: " << error.what();
    }
  }
}

// What is checked on each device.
void add_device_tests(const OpSpec& spec) {
  for (const DType dtype : spec.dtypes) {
    const std::string name = fmt::format("{}_{}", spec.op, to_string(dtype));
    add_test("Forward", name, [=] { forward(spec, dtype); });
    if (gradient_kind(spec.op) == "differentiable" && is_floating(dtype)) {
      add_test("Gradient", name, [=] { gradient(spec, dtype); });
    }
  }
}

// And what is checked once.
void add_common_tests(const OpSpec& spec) {
  for (const DType dtype : spec.dtypes) {
    const std::string name = fmt::format("{}_{}", spec.op, to_string(dtype));
    add_test("Threads", name, [=] { threads(spec, dtype); });
    add_test("NullDevice", name, [=] { null_device(spec, dtype); });
  }
  for (const ErrorCase& error_case : spec.errors) {
    add_test("Refusal", fmt::format("{}_{}", spec.op, error_case.name),
             [=, op = spec.op] { refusal(op, error_case); });
  }
}

// A case list that nobody reads would be a check that cannot fail.
void every_op_has_cases() {
  for (const OpSpec& spec : all_specs()) {
    EXPECT_FALSE(spec.cases.empty()) << spec.op;
    EXPECT_FALSE(spec.errors.empty()) << spec.op;
    EXPECT_FALSE(spec.dtypes.empty()) << spec.op;
    EXPECT_NE(gradient_kind(spec.op), "unknown") << spec.op;
  }
}

}  // namespace

}  // namespace wick::testing

// --device NAME: the one device to test, and nothing that is not of a device.
int main(int argc, char** argv) {
  using namespace wick::testing;
  ::testing::InitGoogleTest(&argc, argv);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool one_device = arguments.size() == 2 && arguments[0] == "--device";
  if (one_device) tested_devices() = {wick::parse_device(arguments[1])};
  for (const auto& spec : all_specs()) {
    add_device_tests(spec);
    if (!one_device) add_common_tests(spec);
  }
  if (!one_device) add_test("Catalog", "every_op_has_cases", every_op_has_cases);
  return RUN_ALL_TESTS();
}

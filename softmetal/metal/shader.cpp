#include "softmetal/metal/shader.hpp"

#include "softmetal/metal/encoder.hpp"
#include "softmetal/metal/statistics.hpp"
#include "softmetal/objc/foundation.hpp"

namespace softmetal {
namespace {

using wick::apple::objc::MTLSize;

Class* library_class = nullptr;
Class* function_class = nullptr;
Class* pipeline_class = nullptr;
constexpr std::uint64_t kMaxConstants = 65536;

constexpr std::int64_t kCompileFailure = 3;
constexpr std::int64_t kFunctionNotFound = 5;
constexpr const char* kLibraryDomain = "MTLLibraryErrorDomain";

// ---- MTLCompileOptions
class CompileOptionsState final : public State {
 public:
  std::uint64_t language_version = 0x30001;
  bool fast_math = true;
  std::int64_t math_mode = 2;
  std::vector<std::pair<std::string, std::string>> macros;
};
Object* options_init(Object* self) { return initialise<CompileOptionsState>(self); }
std::uint64_t language_version(CompileOptionsState& self) { return self.language_version; }
void set_language_version(CompileOptionsState& self, std::uint64_t version) {
  self.language_version = version;
}
bool fast_math(CompileOptionsState& self) { return self.fast_math; }
void set_fast_math(CompileOptionsState& self, bool on) { self.fast_math = on; }
std::int64_t math_mode(CompileOptionsState& self) { return self.math_mode; }
void set_math_mode(CompileOptionsState& self, std::int64_t mode) { self.math_mode = mode; }
void set_macros(CompileOptionsState& self, Object* macros) { self.macros = string_pairs(macros); }

// ---- MTLFunctionConstantValues
class ConstantsState final : public State {
 public:
  std::vector<msl::ConstantValue> by_index;
  std::map<std::string, msl::ConstantValue> by_name;
};
std::size_t size_of_type(std::uint64_t type) {  // MTLDataType
  switch (type) {
    case 3:   // float
    case 29:  // int
    case 33:  // uint
      return 4;
    case 16:  // half
    case 37:  // short
    case 41:  // ushort
      return 2;
    case 45:  // char
    case 49:  // uchar
    case 53:  // bool
      return 1;
    default:
      fault("a constant of MTLDataType " + std::to_string(type) + " is not known here");
  }
}
msl::ConstantValue constant_of(const void* value, std::uint64_t type) {
  if (value == nullptr) fault("the value may not be NULL");
  const auto* bytes = static_cast<const std::byte*>(value);
  return {type, {bytes, bytes + size_of_type(type)}};
}
Object* constants_init(Object* self) { return initialise<ConstantsState>(self); }
void set_constant(ConstantsState& self, const void* value, std::uint64_t type,
                  std::uint64_t index) {
  if (index >= kMaxConstants)
    fault("function constant " + std::to_string(index) + " is above 65535");
  if (self.by_index.size() <= index) self.by_index.resize(index + 1);
  self.by_index[index] = constant_of(value, type);
}
void set_named_constant(ConstantsState& self, const void* value, std::uint64_t type,
                        StringState& name) {
  self.by_name[name.text()] = constant_of(value, type);
}
void reset_constants(ConstantsState& self) {
  self.by_index.clear();
  self.by_name.clear();
}

// ---- MTLLibrary
Object* new_library(DeviceState&, StringState& source, CompileOptionsState* options,
                    Object** error) {
  if (fails_now(Failure::kLibrary) || device_is_lost()) {
    give_error(error, kLibraryDomain, kCompileFailure, "injected: the library does not compile");
    return nullptr;
  }
  msl::CompileRequest request{.source = source.text()};
  if (options != nullptr) request.macros = options->macros;
  try {
    auto library = msl::KernelLibrary::load(request);
    ++statistics().libraries;
    return make_owned<LibraryState>(library_class, std::move(library));
  } catch (const msl::CompileError& wrong) {
    give_error(error, kLibraryDomain, kCompileFailure, wrong.what());
    return nullptr;
  }
}

/// The values by index; a fault or an error where one fits no constant.
bool match_constants(const msl::KernelLibrary& kernels, const ConstantsState& given,
                     std::vector<msl::ConstantValue>& values, std::string& wrong) {
  values = given.by_index;
  for (const auto& [name, value] : given.by_name) {
    const msl::rt::Constant* constant = kernels.find_constant(name);
    if (constant == nullptr) continue;  // Metal ignores what a source does not have
    if (values.size() <= constant->index) values.resize(constant->index + 1);
    values[constant->index] = value;
  }
  for (std::uint32_t i = 0; i < values.size(); ++i) {
    const msl::rt::Constant* constant = kernels.find_constant(i);
    if (values[i].bytes.empty() || constant == nullptr) continue;
    if (constant->type != values[i].type) {
      wrong = "function constant " + std::to_string(i) + " (" + constant->name +
              ") has MTLDataType " + std::to_string(constant->type) + ", its value " +
              std::to_string(values[i].type);
      return false;
    }
  }
  return true;
}

Object* new_function_with(LibraryState& self, StringState& name, ConstantsState* constants,
                          Object** error) {
  const msl::rt::Kernel* kernel = self.kernels->find(name.text());
  if (kernel == nullptr) {
    give_error(error, kLibraryDomain, kFunctionNotFound,
               "the library has no function " + name.text());
    return nullptr;
  }
  std::vector<msl::ConstantValue> values;
  std::string wrong;
  if (constants != nullptr && !match_constants(*self.kernels, *constants, values, wrong)) {
    give_error(error, kLibraryDomain, kCompileFailure, wrong);
    return nullptr;
  }
  for (std::uint32_t i = 0; i < kernel->num_constants; ++i) {
    const std::uint32_t index = kernel->constants[i];
    if (index < values.size() && !values[index].bytes.empty()) continue;
    give_error(error, kLibraryDomain, kCompileFailure,
               name.text() + ": function constant " + std::to_string(index) + " (" +
                   self.kernels->find_constant(index)->name + ") has no value");
    return nullptr;
  }
  return make_owned<FunctionState>(function_class, self, *kernel, std::move(values));
}
Object* new_function(LibraryState& self, StringState& name) {
  return new_function_with(self, name, nullptr, nullptr);
}
Object* function_names(LibraryState& self) {
  std::vector<Object*> names;
  for (const std::string& name : self.kernels->names()) names.push_back(string_object(name));
  return array_object(names);
}

// ---- MTLFunction
Object* function_name(FunctionState& self) { return string_object(self.kernel.name); }
std::uint64_t function_type(FunctionState&) { return 3; }  // MTLFunctionTypeKernel

// ---- MTLComputePipelineState
Object* new_pipeline(DeviceState&, FunctionState& function, Object** error) {
  if (fails_now(Failure::kPipeline) || device_is_lost()) {
    give_error(error, "AGXMetal", 2, "injected: the pipeline does not compile");
    return nullptr;
  }
  const std::uint64_t bytes = function.kernels->static_threadgroup_bytes(function.kernel);
  if (bytes > limits::kThreadgroupBytes) {
    give_error(error, "AGXMetal", 2,
               std::string(function.kernel.name) + ": threadgroup memory of " +
                   std::to_string(bytes) + " bytes is above the limit of 32768");
    return nullptr;
  }
  ++statistics().pipelines;
  return make_owned<PipelineState>(pipeline_class, function);
}
std::uint64_t pipeline_max_threads(PipelineState& self) { return self.max_threads(); }
std::uint64_t pipeline_width(PipelineState&) { return limits::kSimdWidth; }
std::uint64_t pipeline_static_bytes(PipelineState& self) { return self.static_threadgroup_bytes(); }

std::string text(MTLSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height) + "x" +
         std::to_string(size.depth);
}
msl::rt::U3 narrow(MTLSize size) {
  return {static_cast<std::uint32_t>(size.width), static_cast<std::uint32_t>(size.height),
          static_cast<std::uint32_t>(size.depth)};
}

}  // namespace

std::uint64_t PipelineState::static_threadgroup_bytes() const {
  return function->kernels->static_threadgroup_bytes(function->kernel);
}

void PipelineState::check_sizes(MTLSize groups, MTLSize per_group) const {
  const std::uint64_t threads = per_group.width * per_group.height * per_group.depth;
  if (threads == 0) fault("a threadgroup of " + text(per_group) + " threads has none");
  if (threads > max_threads()) {
    fault("a threadgroup of " + text(per_group) +
          " threads is above maxTotalThreadsPerThreadgroup " + std::to_string(max_threads()));
  }
  constexpr std::uint64_t kMost = 0xFFFFFFFFull;
  if (groups.width > kMost || groups.height > kMost || groups.depth > kMost) {
    fault("a grid of " + text(groups) + " threadgroups");
  }
}

void PipelineState::check_bindings(
    const std::array<Binding, limits::kBuffers>& bindings,
    const std::array<std::uint64_t, limits::kBuffers>& threadgroup_bytes) const {
  const msl::rt::Kernel& kernel = function->kernel;
  std::uint64_t dynamic_bytes = 0;
  for (std::uint32_t i = 0; i < limits::kBuffers; ++i) {
    const Binding& binding = bindings[i];
    const std::uint64_t have =
        binding.buffer ? binding.buffer->length - binding.offset : binding.inline_bytes.size();
    const std::string slot = std::string(kernel.name) + ": buffer " + std::to_string(i);
    if ((kernel.buffers >> i & 1u) != 0) {
      if (have == 0) fault(slot + " is not bound");
      if (have < kernel.min_bytes[i]) {
        fault(slot + " needs " + std::to_string(kernel.min_bytes[i]) + " bytes, it has " +
              std::to_string(have));
      }
      if (!binding.buffer && (kernel.written_buffers >> i & 1u) != 0) {
        fault(slot + " may be written by the kernel but is bound by setBytes");
      }
    }
    if ((kernel.threadgroup >> i & 1u) == 0) continue;
    if (threadgroup_bytes[i] == 0) {
      fault(std::string(kernel.name) + ": threadgroup memory " + std::to_string(i) +
            " has no length");
    }
    dynamic_bytes += threadgroup_bytes[i];
  }
  if (dynamic_bytes + static_threadgroup_bytes() > limits::kThreadgroupBytes) {
    fault(std::string(kernel.name) + ": threadgroup memory of " +
          std::to_string(dynamic_bytes + static_threadgroup_bytes()) +
          " bytes is above the limit of 32768");
  }
}

Work PipelineState::make_work(const std::array<Binding, limits::kBuffers>& bindings,
                              const std::array<std::uint64_t, limits::kBuffers>& threadgroup_bytes,
                              MTLSize groups, MTLSize per_group, MTLSize threads) {
  check_sizes(groups, per_group);
  check_bindings(bindings, threadgroup_bytes);
  // What is bound now, not when it runs.
  auto bound = std::make_shared<std::array<Binding, limits::kBuffers>>(bindings);
  msl::Launch launch{.buffers = std::vector<void*>(limits::kBuffers),
                     .threadgroup_bytes = {threadgroup_bytes.begin(), threadgroup_bytes.end()},
                     .groups = narrow(groups),
                     .threads_per_group = narrow(per_group),
                     .threads = narrow(threads),
                     .constants = &function->constants};
  for (std::size_t i = 0; i < limits::kBuffers; ++i) {
    Binding& binding = (*bound)[i];
    if (binding.buffer) {
      launch.buffers[i] = binding.buffer->bytes() + binding.offset;
    } else if (!binding.inline_bytes.empty()) {
      launch.buffers[i] = binding.inline_bytes.data();
    }
  }
  return {.what = "kernel",
          .run = [bound, launch, held = function] { held->kernels->run(held->kernel, launch); }};
}

void register_shaders() {
  ClassBuilder<"MTLCompileOptions">("MTLCompileOptions", "NSObject")
      .method<"init", &options_init>()
      .method<"languageVersion", &language_version>()
      .method<"setLanguageVersion:", &set_language_version>()
      .method<"fastMathEnabled", &fast_math>()
      .method<"setFastMathEnabled:", &set_fast_math>()
      .method<"mathMode", &math_mode>()
      .method<"setMathMode:", &set_math_mode>()
      .method<"setPreprocessorMacros:", &set_macros>()
      .done();
  ClassBuilder<"MTLFunctionConstantValues">("MTLFunctionConstantValues", "NSObject")
      .method<"init", &constants_init>()
      .method<"setConstantValue:type:atIndex:", &set_constant>()
      .method<"setConstantValue:type:withName:", &set_named_constant>()
      .method<"reset", &reset_constants>()
      .done();
  library_class = ClassBuilder<"MTLLibrary">("SoftmetalLibrary", "NSObject")
                      .method<"newFunctionWithName:", &new_function>()
                      .method<"newFunctionWithName:constantValues:error:", &new_function_with>()
                      .method<"functionNames", &function_names>()
                      .done();
  function_class = ClassBuilder<"MTLFunction">("SoftmetalFunction", "NSObject")
                       .method<"name", &function_name>()
                       .method<"functionType", &function_type>()
                       .done();
  pipeline_class =
      ClassBuilder<"MTLComputePipelineState">("SoftmetalComputePipelineState", "NSObject")
          .method<"maxTotalThreadsPerThreadgroup", &pipeline_max_threads>()
          .method<"threadExecutionWidth", &pipeline_width>()
          .method<"staticThreadgroupMemoryLength", &pipeline_static_bytes>()
          .done();
}

void register_shader_methods(ClassBuilder<"MTLDevice">& device) {
  device.method<"newLibraryWithSource:options:error:", &new_library>()
      .method<"newComputePipelineStateWithFunction:error:", &new_pipeline>();
}

}  // namespace softmetal

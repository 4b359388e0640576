#include "apple/metal/metal_messages.hpp"
#include "apple/metal/refuse.hpp"
#include "apple/objc/foundation.hpp"
#include "wick/apple/metal.hpp"

// Libraries, functions and pipelines.

namespace wick::apple::metal {
namespace {

// MTLDataType
constexpr std::uint64_t kFloat = 3, kInt = 29, kUInt = 33, kBool = 53;

Function make_function(objc::MTLLibrary* library, std::string_view name,
                       objc::MTLFunctionConstantValues* constants) {
  const AutoreleaseScope scope;
  const auto text = objc::make_string(name);
  objc::NSError* error = nullptr;
  auto made = messages::new_function(library, text.get(), constants, &error);
  if (!made) {
    throw objc::to_error(error, ErrorKind::kArgument, "metal.function",
                         "no function '" + std::string(name) + "'");
  }
  return Function(std::move(made));
}

}  // namespace

FunctionConstants::FunctionConstants()
    : object_(objc::make<objc::MTLFunctionConstantValues>(messages::init_constants)) {}

FunctionConstants& FunctionConstants::set_bytes(std::uint32_t index, const void* bytes,
                                                std::uint64_t type) {
  constexpr std::uint32_t kMost = 65535;
  if (index > kMost) {
    detail::refuse("metal.function_constant",
                   "the index must be at most 65535; got " + std::to_string(index));
  }
  messages::set_constant(object_.get(), bytes, type, index);
  return *this;
}
FunctionConstants& FunctionConstants::set(std::uint32_t index, bool value) {
  return set_bytes(index, &value, kBool);
}
FunctionConstants& FunctionConstants::set(std::uint32_t index, std::int32_t value) {
  return set_bytes(index, &value, kInt);
}
FunctionConstants& FunctionConstants::set(std::uint32_t index, std::uint32_t value) {
  return set_bytes(index, &value, kUInt);
}
FunctionConstants& FunctionConstants::set(std::uint32_t index, float value) {
  return set_bytes(index, &value, kFloat);
}

std::string Function::name() const {
  const AutoreleaseScope scope;
  return objc::to_std_string(messages::function_name(object_.get()));
}

std::vector<std::string> Library::function_names() const {
  const AutoreleaseScope scope;
  objc::NSArray* const names = messages::function_names(object_.get());
  const std::uint64_t count = messages::array_count(names);
  std::vector<std::string> all;
  all.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    all.push_back(objc::to_std_string(static_cast<objc::NSString*>(messages::object_at(names, i))));
  }
  return all;
}

Function Library::function(std::string_view name) const {
  // Without constants Metal's other message gives no reason; this one does.
  return function(name, FunctionConstants());
}
Function Library::function(std::string_view name, const FunctionConstants& constants) const {
  return make_function(object_.get(), name, constants.object().get());
}

ComputePipeline::ComputePipeline(Ref<objc::MTLComputePipelineState> object, std::string name)
    : object_(std::move(object)),
      name_(std::move(name)),
      max_threads_(messages::max_threads(object_.get())),
      simd_width_(messages::simd_width(object_.get())),
      static_threadgroup_bytes_(messages::static_threadgroup_memory(object_.get())) {}

}  // namespace wick::apple::metal

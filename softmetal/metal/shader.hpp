#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apple/objc/structs.hpp"
#include "softmetal/metal/device.hpp"
#include "softmetal/metal/gpu.hpp"
#include "softmetal/msl/library.hpp"
#include "softmetal/objc/class_builder.hpp"

// MTLLibrary, MTLFunction, MTLComputePipelineState, and the classes that they are made with.

namespace softmetal {

struct Binding;

class LibraryState final : public State {
 public:
  explicit LibraryState(std::shared_ptr<const msl::KernelLibrary> library)
      : kernels(std::move(library)) {}
  const std::shared_ptr<const msl::KernelLibrary> kernels;
  std::string label;
};

class FunctionState final : public State {
 public:
  FunctionState(LibraryState& library, const msl::rt::Kernel& which,
                std::vector<msl::ConstantValue> values)
      : kernels(library.kernels), kernel(which), constants(std::move(values)) {}
  const std::shared_ptr<const msl::KernelLibrary> kernels;
  const msl::rt::Kernel& kernel;
  const std::vector<msl::ConstantValue> constants;  // by index
};

class PipelineState final : public State {
 public:
  explicit PipelineState(FunctionState& of) : function(&of) {}
  Hold<FunctionState> function;

  std::uint64_t max_threads() const { return function->kernel.max_threads; }
  std::uint64_t static_threadgroup_bytes() const;
  /// Checks a dispatch against the kernel and Metal's limits and makes the work of it.
  Work make_work(const std::array<Binding, limits::kBuffers>& bindings,
                 const std::array<std::uint64_t, limits::kBuffers>& threadgroup_bytes,
                 wick::apple::objc::MTLSize groups, wick::apple::objc::MTLSize threads_per_group,
                 wick::apple::objc::MTLSize threads);

 private:
  void check_sizes(wick::apple::objc::MTLSize groups,
                   wick::apple::objc::MTLSize threads_per_group) const;
  void check_bindings(const std::array<Binding, limits::kBuffers>& bindings,
                      const std::array<std::uint64_t, limits::kBuffers>& threadgroup_bytes) const;
};

void register_shaders();
void register_shader_methods(ClassBuilder<"MTLDevice">& device);

}  // namespace softmetal

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "softmetal/msl/compiler.hpp"
#include "softmetal/msl/fibers.hpp"

namespace softmetal::msl {

/// What a function constant is set to.
struct ConstantValue {
  std::uint64_t type = 0;  // MTLDataType
  std::vector<std::byte> bytes;
};

/// A dispatch, ready to run.
struct Launch {
  std::vector<void*> buffers;                  // by slot
  std::vector<std::size_t> threadgroup_bytes;  // by slot
  rt::U3 groups{}, threads_per_group{}, threads{};
  /// By index; those without bytes have no value.
  const std::vector<ConstantValue>* constants = nullptr;
};

/// A loaded library of kernels.
class KernelLibrary {
 public:
  /// Throws CompileError.
  static std::shared_ptr<const KernelLibrary> load(const CompileRequest& request);
  ~KernelLibrary();
  KernelLibrary(const KernelLibrary&) = delete;
  KernelLibrary& operator=(const KernelLibrary&) = delete;

  std::vector<std::string> names() const;
  /// Null when there is none of this name.
  const rt::Kernel* find(const std::string& name) const;
  /// Null when there is none of this index or name.
  const rt::Constant* find_constant(std::uint32_t index) const;
  const rt::Constant* find_constant(const std::string& name) const;
  /// Bytes of the threadgroup arrays that a kernel declares.
  std::size_t static_threadgroup_bytes(const rt::Kernel& kernel) const;
  /// Runs all threadgroups. Throws std::runtime_error for what a kernel does wrong.
  void run(const rt::Kernel& kernel, const Launch& launch) const;

 private:
  KernelLibrary(void* handle, const rt::Library& library) : handle_(handle), library_(library) {}
  void set_constants(const Launch& launch) const;

  void* handle_;
  const rt::Library& library_;
};

}  // namespace softmetal::msl

#include "softmetal/msl/library.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <numeric>
#include <thread>

#include "softmetal/metal/statistics.hpp"

namespace softmetal::msl {
namespace {

/// Runners keep their fibers for the next launch.
class RunnerPool {
 public:
  static RunnerPool& instance() {
    static RunnerPool* const only = new RunnerPool;  // launches may run while the process ends
    return *only;
  }
  std::unique_ptr<GroupRunner> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<GroupRunner>();
    auto runner = std::move(free_.back());
    free_.pop_back();
    return runner;
  }
  void give_back(std::unique_ptr<GroupRunner> runner) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(runner));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<GroupRunner>> free_;
};

/// Visits 0 … total - 1 in an order that the seed chooses.
class Permutation {
 public:
  Permutation(std::uint64_t total, std::uint64_t seed) : total_(total) {
    if (seed == 0) return;
    offset_ = seed % total;
    step_ = (seed >> 7) % std::min<std::uint64_t>(total, 65536) | 1;
    while (std::gcd(step_, total) != 1) ++step_;
  }
  std::uint64_t operator()(std::uint64_t i) const { return (i * step_ + offset_) % total_; }

 private:
  std::uint64_t total_;
  std::uint64_t step_ = 1;
  std::uint64_t offset_ = 0;
};

std::uint32_t defined_bits(const Launch& launch) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < launch.constants->size() && i < 32; ++i) {
    if (!(*launch.constants)[i].bytes.empty()) bits |= 1u << i;
  }
  return bits;
}

}  // namespace

std::shared_ptr<const KernelLibrary> KernelLibrary::load(const CompileRequest& request) {
  std::filesystem::path path;
  try {
    path = compile(request);
  } catch (const CompileError&) {
    throw;
  } catch (const std::exception& error) {
    throw CompileError(error.what());
  }
  // SAFETY: compile() made the file from the program's own source, in a folder where nobody else may write.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw CompileError(std::string("softmetal cannot load its library: ") + dlerror());
  // SAFETY: the symbol is what make_thunks() writes; the file's name is a hash of that text.
  const auto* library = static_cast<const rt::Library*>(dlsym(handle, "msl_library"));
  if (library == nullptr)
    throw CompileError("softmetal: " + path.string() + " is no library of kernels");
  *library->runtime = &kernel_runtime();
  return std::shared_ptr<const KernelLibrary>(new KernelLibrary(handle, *library));
}

// SAFETY: whoever runs a kernel shares ownership of this.
KernelLibrary::~KernelLibrary() { dlclose(handle_); }

std::vector<std::string> KernelLibrary::names() const {
  std::vector<std::string> all;
  for (std::uint32_t i = 0; i < library_.num_kernels; ++i)
    all.emplace_back(library_.kernels[i].name);
  return all;
}

const rt::Kernel* KernelLibrary::find(const std::string& name) const {
  for (std::uint32_t i = 0; i < library_.num_kernels; ++i) {
    if (name == library_.kernels[i].name) return &library_.kernels[i];
  }
  return nullptr;
}
const rt::Constant* KernelLibrary::find_constant(std::uint32_t index) const {
  for (std::uint32_t i = 0; i < library_.num_constants; ++i) {
    if (library_.constants[i].index == index) return &library_.constants[i];
  }
  return nullptr;
}
const rt::Constant* KernelLibrary::find_constant(const std::string& name) const {
  for (std::uint32_t i = 0; i < library_.num_constants; ++i) {
    if (name == library_.constants[i].name) return &library_.constants[i];
  }
  return nullptr;
}

std::size_t KernelLibrary::static_threadgroup_bytes(const rt::Kernel& kernel) const {
  std::size_t sum = 0;
  for (std::uint32_t i = 0; i < kernel.num_locals; ++i) {
    // Instances of a template may give one declaration several sizes: the largest counts.
    std::size_t largest = 0;
    for (const rt::Local* local = *library_.locals; local != nullptr; local = local->next) {
      if (local->id == kernel.locals[i]) largest = std::max(largest, local->bytes);
    }
    sum += largest;
  }
  return sum;
}

void KernelLibrary::set_constants(const Launch& launch) const {
  for (std::uint32_t i = 0; i < library_.num_constants; ++i) {
    const rt::Constant& constant = library_.constants[i];
    if (constant.index >= launch.constants->size()) continue;
    const ConstantValue& value = (*launch.constants)[constant.index];
    if (!value.bytes.empty()) std::memcpy(constant.address(), value.bytes.data(), constant.bytes);
  }
}

void KernelLibrary::run(const rt::Kernel& kernel, const Launch& launch) const {
  const std::uint64_t total =
      std::uint64_t{launch.groups.x} * launch.groups.y * std::uint64_t{launch.groups.z};
  if (total == 0) return;
  const GroupTask task{.kernel = &kernel,
                       .buffers = launch.buffers.data(),
                       .threadgroup_bytes = &launch.threadgroup_bytes,
                       .groups = launch.groups,
                       .threads_per_group = launch.threads_per_group,
                       .threads = launch.threads,
                       .defined_constants = defined_bits(launch),
                       .seed = lane_seed()};
  const Permutation order(total, task.seed);
  std::atomic<std::uint64_t> next{0};
  std::mutex mutex;
  std::string failure;
  const auto work = [&] {
    auto runner = RunnerPool::instance().take();
    set_constants(launch);
    for (std::uint64_t i = next++; i < total; i = next++) {
      const std::uint64_t g = order(i);
      const rt::U3 group{static_cast<std::uint32_t>(g % launch.groups.x),
                         static_cast<std::uint32_t>(g / launch.groups.x % launch.groups.y),
                         static_cast<std::uint32_t>(g / launch.groups.x / launch.groups.y)};
      const std::string wrong = runner->run(task, group);
      if (wrong.empty()) continue;
      next = total;
      const std::lock_guard lock(mutex);
      failure = wrong;
    }
    RunnerPool::instance().give_back(std::move(runner));
  };
  const std::uint64_t all_threads =
      total * launch.threads_per_group.x * launch.threads_per_group.y * launch.threads_per_group.z;
  constexpr std::uint64_t kWorthThreads = 4096;
  const std::uint64_t workers =
      all_threads < kWorthThreads
          ? 1
          : std::min<std::uint64_t>(total, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (std::uint64_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (!failure.empty()) throw std::runtime_error(std::string(kernel.name) + ": " + failure);
}

}  // namespace softmetal::msl

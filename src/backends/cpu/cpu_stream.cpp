#include "backends/cpu/cpu_stream.hpp"

#include "backends/cpu/cpu_backend.hpp"

namespace wick::cpu {

CpuStream::CpuStream(CpuBackend& backend) : Stream(kCpuDevice), backend_(backend) {}

void CpuStream::record(Event& /*event*/) {}

void CpuStream::wait(Event& event) { event.synchronize(); }

std::shared_ptr<detail::ThreadPool> thread_pool(Stream& stream) {
  return static_cast<CpuStream&>(stream).backend().pool();
}

void parallel_for(Stream& stream, std::int64_t n, std::int64_t grain,
                  detail::FunctionRef<void(std::int64_t, std::int64_t)> body) {
  thread_pool(stream)->parallel_for(n, grain, body);
}

}  // namespace wick::cpu

#include <cstddef>

#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/args/decode_attention_args.hpp"
#include "runtime/args/elementwise_args.hpp"

namespace wick::mps {

namespace {

KernelStatus append(Stream& stream, const TensorView& added, const TensorView& memory,
                    std::int64_t begin) {
  TensorView place = memory;
  place.shape = added.shape;
  place.data = static_cast<std::byte*>(memory.data) +
               static_cast<std::size_t>(begin * memory.stride(1)) * size_of(memory.dtype);
  return copy(stream, {.src = added, .dst = place});
}

}  // namespace

KernelStatus kv_append(Stream& stream, const KvAppendArgs& args) {
  if (args.position) {
    return KernelStatus::unsupported(
        "a position in memory is for recorded work, which mps has not");
  }
  KernelStatus status = append(stream, args.k, args.k_memory, args.begin);
  return status.is_ok() ? append(stream, args.v, args.v_memory, args.begin) : status;
}

// Launches cost little here beside what their kernels do.
KernelStatus decode_attention(Stream& /*stream*/, const DecodeAttentionArgs& /*args*/) {
  return KernelStatus::unsupported("rotation, memory and attention in one kernel");
}

}  // namespace wick::mps

#include <cstddef>
#include <cstring>

#include "backends/cpu/cpu_kernels.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/args/decode_attention_args.hpp"

namespace wick::cpu {

namespace {

// The tokens of each sequence are neighbours on both sides.
void append(const TensorView& added, const TensorView& memory, std::int64_t begin) {
  const auto token_bytes =
      static_cast<std::size_t>(added.dim(2) * added.dim(3)) * size_of(added.dtype);
  const std::size_t added_bytes = static_cast<std::size_t>(added.dim(1)) * token_bytes;
  const std::size_t room_bytes = static_cast<std::size_t>(memory.dim(1)) * token_bytes;
  const auto* from = static_cast<const std::byte*>(added.data);
  auto* to = static_cast<std::byte*>(memory.data) + static_cast<std::size_t>(begin) * token_bytes;
  for (std::int64_t b = 0; b < added.dim(0); ++b) {
    std::memcpy(to, from, added_bytes);
    from += added_bytes;
    to += room_bytes;
  }
}

}  // namespace

KernelStatus kv_append(Stream& /*stream*/, const KvAppendArgs& args) {
  if (args.k.numel() == 0) return KernelStatus::ok();
  const std::int64_t begin =
      args.position ? *data_as<const std::int32_t>(args.position) : args.begin;
  if (begin < 0 || begin + args.k.dim(1) > args.k_memory.dim(1)) {
    return KernelStatus::invalid("the position does not fit the memory");
  }
  append(args.k, args.k_memory, begin);
  append(args.v, args.v_memory, begin);
  return KernelStatus::ok();
}

// Launches cost little here beside what their kernels do.
KernelStatus decode_attention(Stream& /*stream*/, const DecodeAttentionArgs& /*args*/) {
  return KernelStatus::unsupported("rotation, memory and attention in one kernel");
}

}  // namespace wick::cpu

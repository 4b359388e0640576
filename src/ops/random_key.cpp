#include "ops/random_key.hpp"

namespace wick::detail {

RandomKeyArgs key_args(const Check& check, const RandomKey& key, Device device) {
  if (key.offset_base.defined()) {
    const Check base(check.op(), {{"offset_base", key.offset_base}});
    base.that(key.offset_base.dtype() == DType::kI64, ErrorKind::kDtype, "offset_base must be i64");
    base.shape("offset_base", key.offset_base, {}, "(a scalar)");
    base.that(key.offset_base.device() == device, ErrorKind::kDevice, "offset_base must be on {}",
              to_string(device));
  }
  return {.seed = key.seed, .offset = key.offset, .offset_base = view(key.offset_base)};
}

}  // namespace wick::detail

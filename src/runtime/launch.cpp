#include "runtime/launch.hpp"

#include <utility>

#include "wick/base/error.hpp"

namespace wick {

Operand describe(std::string_view name, const TensorView& view) {
  return {.name = std::string(name),
          .shape = view.shape.to_vector(),
          .dtype = std::string(to_string(view.dtype)),
          .device = to_string(view.device)};
}

void throw_refused(std::string_view op, Device device, const KernelStatus& status,
                   std::vector<Operand> operands) {
  if (status.is_invalid()) {
    throw Error(ErrorKind::kArgument, std::string(op), status.reason(), std::move(operands));
  }
  throw Error(ErrorKind::kUnsupported, std::string(op),
              to_string(device) + " cannot do this: " + status.reason(), std::move(operands));
}

}  // namespace wick

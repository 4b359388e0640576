#include "softmetal/mps/register.hpp"

namespace softmetal {
void register_mps() {}
}  // namespace softmetal

#include "softmetal/mps/register.hpp"

#include "softmetal/mps/kernel.hpp"

namespace softmetal {
void register_mps() {
  mps::register_data();
  mps::register_kernels();
  mps::register_products();
  mps::register_rows();
  mps::register_layers();
  mps::register_copies();
  mps::register_random();
  mps::register_solvers();
  mps::register_arrays();
  mps::register_command_buffer();
}
}  // namespace softmetal

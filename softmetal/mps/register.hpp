#pragma once

namespace softmetal {

/// Registers the classes of Metal Performance Shaders.
void register_mps();

}  // namespace softmetal

#pragma once

#include <string>
#include <string_view>

// Metal Shading Language to C++ for the shim. The text stays as it is but for what C++ lacks: attributes, arrays in
// threadgroup memory, vectors made from parts, function constants. Types are left to the compiler.

namespace softmetal::msl {

/// The C++ source of a preprocessed Metal source. Throws std::runtime_error, "program_source:LINE: error: …", for what
/// is not Metal or not known here.
std::string translate(std::string_view preprocessed);

}  // namespace softmetal::msl

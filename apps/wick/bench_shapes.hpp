#pragma once

#include <string>

#include "wick/models/model_config.hpp"

namespace wick::cli {

/// The description of a model whose weights do not matter: one of the names in shape_names(), or a config.json. Throws
/// Error kIo, kParse, kUnsupported as parse_model_config(), kArgument when it is neither.
ModelConfig config_of_shape(const std::string& shape);

/// The names that config_of_shape() knows, for a message.
std::string shape_names();

}  // namespace wick::cli

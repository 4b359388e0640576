#pragma once

#include "wick/base/error.hpp"

namespace wick::cli {

/// How the program ends; docs/commands.md has the table.
enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,      ///< the work could not be done, or a comparison did not hold
  kUsage = 2,        ///< a flag, a value or a combination of them is wrong
  kFileAccess = 3,   ///< a file cannot be read or written
  kFileContent = 4,  ///< a file breaks its format, or holds what Wick does not support
  kMemory = 5,       ///< not enough memory, or more than the budget
  kInterrupted = 130,
};

/// The code for an error that nobody handled.
ExitCode exit_code_of(const Error& error);

}  // namespace wick::cli

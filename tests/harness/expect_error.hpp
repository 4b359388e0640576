#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "wick/base/error.hpp"

namespace wick {

/// Fails unless `call` throws an Error of this kind whose text has all the parts.
template <class Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

}  // namespace wick

#include <gtest/gtest.h>

#include <cstdlib>

// Kernels that one test binary has compiled are there for the next.
int main(int argc, char** argv) {
  setenv("SOFTMETAL_CACHE", WICK_TEST_KERNEL_CACHE, 0);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

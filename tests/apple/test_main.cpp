#include <gtest/gtest.h>

#include <cstdlib>

// The lists of methods that GCC's runtime makes when a class is registered are never freed.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libobjc.so\n"; }

// Kernels that one test binary has compiled are there for the next.
int main(int argc, char** argv) {
  setenv("SOFTMETAL_CACHE", WICK_TEST_KERNEL_CACHE, 0);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

# Debian on AArch64, built elsewhere by Debian's cross compiler and run by QEMU. ./dev makes build/aarch64-tools by
# prepare.sh.
get_filename_component(wick_build ${CMAKE_CURRENT_LIST_DIR}/../../build ABSOLUTE)
get_filename_component(wick_tools ${wick_build}/aarch64-tools REALPATH)
if(NOT EXISTS ${wick_tools}/bin/kernel-clang++)
  message(FATAL_ERROR "${wick_tools} has no libraries for AArch64: run ./dev build aarch64")
endif()

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Not to be told how C++14 passed arguments.
set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)
set(CMAKE_SYSROOT ${wick_tools}/root)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR ${wick_tools}/bin/emulate)
# What software Metal under QEMU compiles kernels with is a program of this machine.
set(WICK_METAL_CXX ${wick_tools}/bin/kernel-clang++ CACHE FILEPATH "")

# GCC's Objective-C runtime is among the compiler's own libraries, and the cross compiler has none.
file(GLOB wick_gcc_libraries ${CMAKE_SYSROOT}/usr/lib/gcc/aarch64-linux-gnu/*)
set(CMAKE_EXE_LINKER_FLAGS_INIT -L${wick_gcc_libraries})
set(CMAKE_SHARED_LINKER_FLAGS_INIT -L${wick_gcc_libraries})

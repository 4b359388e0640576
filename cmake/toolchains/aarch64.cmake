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
set(CMAKE_SYSROOT ${wick_tools}/root)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# A processor that is sold, rather than QEMU's own with all that Arm has ever described.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -cpu neoverse-n1 -L ${CMAKE_SYSROOT})
# What software Metal under QEMU compiles kernels with is a program of this machine.
set(WICK_METAL_CXX ${wick_tools}/bin/kernel-clang++ CACHE FILEPATH "")

# GCC's Objective-C runtime is among the compiler's own libraries, and the cross compiler has none.
file(GLOB wick_gcc_libraries ${CMAKE_SYSROOT}/usr/lib/gcc/aarch64-linux-gnu/*)
set(CMAKE_EXE_LINKER_FLAGS_INIT -L${wick_gcc_libraries})
set(CMAKE_SHARED_LINKER_FLAGS_INIT -L${wick_gcc_libraries})

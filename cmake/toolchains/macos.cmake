# macOS 13 and later on Apple silicon, built on Linux by zig's clang and linker. ./dev makes build/macos-tools by
# prepare.sh.
get_filename_component(wick_build ${CMAKE_CURRENT_LIST_DIR}/../../build ABSOLUTE)
get_filename_component(WICK_MACOS_TOOLS ${wick_build}/macos-tools REALPATH)
if(NOT EXISTS ${WICK_MACOS_TOOLS}/lib/libc++.a)
  message(FATAL_ERROR "${WICK_MACOS_TOOLS} has no compiler for macOS: run ./dev build macos")
endif()

set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
# There is no SDK, and the compilers know the version of macOS.
set(CMAKE_OSX_SYSROOT "" CACHE STRING "" FORCE)
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "" FORCE)
set(CMAKE_C_COMPILER ${WICK_MACOS_TOOLS}/bin/zig-clang)
set(CMAKE_CXX_COMPILER ${WICK_MACOS_TOOLS}/bin/zig-clang++)
# What links wick once more, in place of the compiler.
set(WICK_SECOND_LINKER ${WICK_MACOS_TOOLS}/bin/lld-link)
set(CMAKE_AR ${WICK_MACOS_TOOLS}/bin/zig-ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${WICK_MACOS_TOOLS}/bin/zig-ranlib CACHE FILEPATH "")
# CMake wants one, but nothing here has an rpath.
set(CMAKE_INSTALL_NAME_TOOL ${CMAKE_COMMAND} CACHE FILEPATH "")

# The libraries of libraries/CMakeLists.txt, and nothing of this machine.
set(CMAKE_FIND_ROOT_PATH ${wick_build}/macos-libraries/installed)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Stubs say what the system's libraries have; of each, what Wick uses.
set(stubs ${CMAKE_CURRENT_LIST_DIR}/macos/stubs)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-F${stubs}/frameworks -L${stubs}/lib -Wl,-dead_strip")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "${CMAKE_EXE_LINKER_FLAGS_INIT}")

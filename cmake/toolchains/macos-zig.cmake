# macOS 13 and later on Apple silicon, built on Linux by zig's clang and linker.
include(${CMAKE_CURRENT_LIST_DIR}/macos/platform.cmake)
set(CMAKE_C_COMPILER ${WICK_MACOS_TOOLS}/bin/zig-clang)
set(CMAKE_CXX_COMPILER ${WICK_MACOS_TOOLS}/bin/zig-clang++)

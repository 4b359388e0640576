# macOS 13 and later on Apple silicon, built on Linux by Debian's clang 19 and lld 19 with zig's headers and C++ library.
include(${CMAKE_CURRENT_LIST_DIR}/macos/platform.cmake)
set(CMAKE_C_COMPILER ${WICK_MACOS_TOOLS}/bin/debian-clang)
set(CMAKE_CXX_COMPILER ${WICK_MACOS_TOOLS}/bin/debian-clang++)
# Without it symbols of the C++ library inside the program would be joined with those of the system's own.
set(CMAKE_EXE_LINKER_FLAGS_INIT "${CMAKE_EXE_LINKER_FLAGS_INIT} -Wl,-exported_symbol,_main")

# WICK_APPLE: the bindings of Metal and Metal Performance Shaders. On macOS they stand on the system's frameworks, on
# other systems on softmetal, which needs GCC's Objective-C runtime and a clang that compiles kernels.
set(WICK_APPLE AUTO CACHE STRING "Build wick::apple: AUTO (where its needs are met), ON (or fail), OFF")
set_property(CACHE WICK_APPLE PROPERTY STRINGS AUTO ON OFF)

# Sets <result> to what is missing; empty where nothing is.
function(wick_find_apple_needs result)
  set(missing "")
  if(NOT APPLE)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_LIBRARIES objc)
    check_cxx_source_compiles(
      "extern \"C\" void* objc_getClass(const char*); int main() { return objc_getClass(\"x\") != nullptr; }"
      WICK_HAVE_GNU_OBJC)
    if(NOT WICK_HAVE_GNU_OBJC)
      list(APPEND missing "GCC's Objective-C runtime (Debian: libobjc-12-dev)")
    endif()
    find_program(WICK_METAL_CXX NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++
      DOC "The clang that softmetal compiles kernels with")
    if(WICK_METAL_CXX)
      execute_process(COMMAND ${WICK_METAL_CXX} -dumpversion OUTPUT_VARIABLE version
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
    if(NOT WICK_METAL_CXX OR version VERSION_LESS 16)
      list(APPEND missing "clang 16 or later (Debian: clang-19)")
    endif()
  endif()
  list(JOIN missing ", " missing)
  set(${result} "${missing}" PARENT_SCOPE)
endfunction()

set(WICK_HAVE_APPLE OFF)
if(WICK_APPLE)
  wick_find_apple_needs(missing)
  if(NOT missing)
    set(WICK_HAVE_APPLE ON)
  elseif(WICK_APPLE STREQUAL "AUTO")
    message(STATUS "wick::apple is not built: missing ${missing}")
  else()
    message(FATAL_ERROR "WICK_APPLE is ${WICK_APPLE}, but there is no ${missing}")
  endif()
endif()

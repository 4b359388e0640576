# Settings shared by every target, and the function that makes one layer of the tree.

find_program(WICK_CCACHE ccache)
if(WICK_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${WICK_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${WICK_CCACHE})
endif()

add_library(wick_settings INTERFACE)
target_compile_features(wick_settings INTERFACE cxx_std_20)
# In the builds for daily work only: at -O3 GCC 12 warns of overlaps and sizes that cannot occur, in its own
# std::string among others.
if(WICK_DEVELOPER AND NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  set(wick_warnings
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wold-style-cast
    -Wnon-virtual-dtor -Woverloaded-virtual -Werror
    # Fields left out of a designated initialiser take the default that their struct documents.
    -Wno-missing-field-initializers)
  # The warnings of nvcc itself: what it writes for the host compiler is not our C++.
  set(wick_cuda_warnings --Werror=all-warnings)
  target_compile_options(wick_settings INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:${wick_warnings}>" "$<$<COMPILE_LANGUAGE:CUDA>:${wick_cuda_warnings}>")
endif()
if(WICK_SANITIZE)
  target_compile_options(wick_settings INTERFACE
    -fsanitize=${WICK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(wick_settings INTERFACE -fsanitize=${WICK_SANITIZE})
  if(WICK_SANITIZE MATCHES "address")
    target_sources(wick_settings INTERFACE
      $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${PROJECT_SOURCE_DIR}/cmake/leak_suppressions.cpp>)
  endif()
endif()

# wick_add_layer(<name> SOURCES <file>... [DEPENDS <layer>...] [PRIVATE <library>...])
#
# Makes the static library wick_<name>, alias wick::<name>. DEPENDS is the layer rule: the folders whose
# headers this one may include. tools/check_layers.py reads these calls.
function(wick_add_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 LAYER "" "" "SOURCES;DEPENDS;PRIVATE")
  add_library(wick_${name} STATIC ${LAYER_SOURCES})
  add_library(wick::${name} ALIAS wick_${name})
  set_target_properties(wick_${name} PROPERTIES
    EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(wick_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_features(wick_${name} PUBLIC cxx_std_20)
  # CMake 3.25 does not know that nvcc has C++20.
  target_compile_options(wick_${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr>")
  list(TRANSFORM LAYER_DEPENDS PREPEND wick::)
  target_link_libraries(wick_${name}
    PUBLIC ${LAYER_DEPENDS}
    PRIVATE $<BUILD_INTERFACE:wick_settings> ${LAYER_PRIVATE})
  set_property(GLOBAL APPEND PROPERTY WICK_LAYERS wick_${name})
endfunction()

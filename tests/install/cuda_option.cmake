# usage: cmake -DSOURCE=<source dir> -DWORK=<folder> -P cuda_option.cmake
#
# What WICK_CUDA does where there is no nvcc: ON is refused with what is missing, AUTO goes on and says so, OFF says nothing.
file(REMOVE_RECURSE ${WORK})
file(WRITE ${WORK}/project/CMakeLists.txt "
cmake_minimum_required(VERSION 3.25)
project(option LANGUAGES NONE)
list(APPEND CMAKE_MODULE_PATH ${SOURCE}/cmake)
include(wick_cuda)
message(STATUS \"with: \${WICK_WITH_CUDA}, layer: <\${WICK_CUDA_LAYER}>\")
")

# expect(<value of WICK_CUDA> <exit status> SAYS <text of the output>... [NOT <text>...])
function(expect value expected_status)
  cmake_parse_arguments(PARSE_ARGV 2 EXPECT "" "" "SAYS;NOT")
  # Set, and set to nothing: neither Wick nor CMake searches for the compiler.
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env --unset=CUDACXX
      ${CMAKE_COMMAND} -S ${WORK}/project -B ${WORK}/${value} -DWICK_CUDA=${value} -DWICK_NVCC=OFF
      -DCMAKE_CUDA_COMPILER=CMAKE_CUDA_COMPILER-NOTFOUND
    RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE errors)
  string(APPEND said ${errors})
  # CMake breaks the lines of its errors.
  string(REGEX REPLACE "[ \n]+" " " said "${said}")
  if(NOT status EQUAL expected_status)
    message(FATAL_ERROR "WICK_CUDA=${value} ends with ${status}, not ${expected_status}: ${said}")
  endif()
  foreach(text IN LISTS EXPECT_SAYS)
    string(FIND "${said}" "${text}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "WICK_CUDA=${value} does not say \"${text}\": ${said}")
    endif()
  endforeach()
  foreach(text IN LISTS EXPECT_NOT)
    string(FIND "${said}" "${text}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "WICK_CUDA=${value} says \"${text}\": ${said}")
    endif()
  endforeach()
endfunction()

set(missing "nvcc was not found (CUDACXX, CUDA_PATH, PATH or /usr/local/cuda)")
expect(ON 1 SAYS "WICK_CUDA=ON: ${missing}" NOT "with:")
expect(AUTO 0 SAYS "Without CUDA: ${missing}" "with: OFF, layer: <>")
expect(OFF 0 SAYS "with: OFF, layer: <>" NOT "nvcc" "CUDA:")
expect(MAYBE 1 SAYS "WICK_CUDA must be AUTO, ON or OFF, got MAYBE")
file(REMOVE_RECURSE ${WORK})

# Reads the ids of the ops from the catalog, so that a new op needs no new line in CMake.
set(wick_catalog ${PROJECT_SOURCE_DIR}/src/runtime/op_catalog.def)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${wick_catalog})
file(STRINGS ${wick_catalog} wick_op_lines REGEX "^WICK_OP\\(")
set(WICK_OPS "")
foreach(line IN LISTS wick_op_lines)
  string(REGEX REPLACE "^WICK_OP\\(([a-z0-9_]+),.*" "\\1" id "${line}")
  list(APPEND WICK_OPS ${id})
endforeach()

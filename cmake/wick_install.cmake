# Installs headers, libraries and the package that find_package(wick) reads.
include(CMakePackageConfigHelpers)

add_library(wick INTERFACE)
add_library(wick::wick ALIAS wick)
get_property(wick_layers GLOBAL PROPERTY WICK_LAYERS)
list(TRANSFORM wick_layers REPLACE "^wick_" "wick::" OUTPUT_VARIABLE wick_layer_names)
# The bindings of Metal are a library of their own: find_package(wick COMPONENTS apple).
list(REMOVE_ITEM wick_layer_names wick::apple)
target_link_libraries(wick INTERFACE ${wick_layer_names})

if(TARGET softmetal)
  install(TARGETS softmetal EXPORT wick-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/softmetal/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS wick ${wick_layers} EXPORT wick-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT wick-targets NAMESPACE wick:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wick)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/wick-config.cmake.in
  ${PROJECT_BINARY_DIR}/wick-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wick)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/wick-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wick-config.cmake ${PROJECT_BINARY_DIR}/wick-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindOneDNN.cmake ${PROJECT_SOURCE_DIR}/cmake/FindPCRE2.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindUtf8proc.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wick)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/wick)

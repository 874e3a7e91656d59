# SPDX-License-Identifier: Apache-2.0
# libpassthroughfs, for programs that embed the file system or talk to a running mount. It is made of
# the layers `embed` and `client` (include/passthroughfs is its interface) and exists once they do.
# The program itself links the same layers statically.
if(NOT TARGET pfs_embed)
  return()
endif()

# The objects of the public layers go in whole, what they need is taken from the layers below.
# Everything is compiled with hidden visibility: only PASSTHROUGHFS_EXPORT leaves the library.
add_library(libpassthroughfs SHARED $<TARGET_OBJECTS:pfs_embed>)
add_library(passthroughfs::passthroughfs ALIAS libpassthroughfs)
set_target_properties(libpassthroughfs PROPERTIES
  OUTPUT_NAME passthroughfs
  EXPORT_NAME passthroughfs
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}  # 0.x: every minor version may differ
  LINKER_LANGUAGE CXX
  VERIFY_INTERFACE_HEADER_SETS ON)
target_link_libraries(libpassthroughfs PRIVATE pfs_embed)
if(TARGET pfs_client)
  target_sources(libpassthroughfs PRIVATE $<TARGET_OBJECTS:pfs_client>)
  target_link_libraries(libpassthroughfs PRIVATE pfs_client)
endif()
target_compile_features(libpassthroughfs INTERFACE cxx_std_20)
pfs_compile_options(libpassthroughfs)

file(GLOB public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/passthroughfs/*.h)
target_sources(libpassthroughfs PUBLIC FILE_SET HEADERS
  BASE_DIRS ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include
  FILES ${public_headers} ${PROJECT_BINARY_DIR}/include/passthroughfs/version.h)

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/passthroughfs)
install(TARGETS libpassthroughfs EXPORT passthroughfsTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT passthroughfsTargets NAMESPACE passthroughfs:: DESTINATION ${package_dir}
  FILE passthroughfsConfig.cmake)  # a shared library asks nothing of its users: no dependencies to find
write_basic_package_version_file(${PROJECT_BINARY_DIR}/passthroughfsConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/passthroughfsConfigVersion.cmake DESTINATION ${package_dir})
# The .pc file finds its prefix from its own place, so the tree can be moved.
file(RELATIVE_PATH path_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
string(REGEX REPLACE "/$" "" path_to_prefix ${path_to_prefix})
configure_file(${PROJECT_SOURCE_DIR}/cmake/passthroughfs.pc.in passthroughfs.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/passthroughfs.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

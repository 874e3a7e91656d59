# SPDX-License-Identifier: Apache-2.0

# Include paths, warnings and libraries for one target of this project.
function(_pfs_setup target)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)
  pfs_compile_options(${target})
  target_link_libraries(${target} PUBLIC ${ARGN})
endfunction()

# pfs_layer(wire SOURCES arg_reader.cc dump.cc DEPS pfs_base fmt::fmt)
#
# The static library pfs_wire from src/wire. DEPS are the layers directly below and outside
# libraries. A layer with headers only leaves SOURCES out.
function(pfs_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pfs_layer(${name}): what is '${arg_UNPARSED_ARGUMENTS}'?")
  endif()
  if(arg_SOURCES)
    add_library(pfs_${name} STATIC ${arg_SOURCES})
    _pfs_setup(pfs_${name} ${arg_DEPS} Threads::Threads)
  else()
    add_library(pfs_${name} INTERFACE)
    target_include_directories(pfs_${name} INTERFACE
      ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include ${PROJECT_BINARY_DIR}/include)
    target_link_libraries(pfs_${name} INTERFACE ${arg_DEPS} Threads::Threads)
  endif()
endfunction()

# pfs_program(NAME SOURCES main.cc DEPS pfs_control)
function(pfs_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pfs_program(${name}): what is '${arg_UNPARSED_ARGUMENTS}'?")
  endif()
  add_executable(${name} ${arg_SOURCES})
  _pfs_setup(${name} ${arg_DEPS})
endfunction()

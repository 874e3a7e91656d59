# SPDX-License-Identifier: Apache-2.0
include(GoogleTest)

# pfs_test(NAME SOURCES a_test.cc b_test.cc DEPS pfs_wire LABELS unit [TIMEOUT 120] [SERIAL])
#
# One GoogleTest program, each of its tests a ctest named NAME/Suite.Test. Labels:
#   unit   no privilege, seconds     mount  needs /dev/fuse
#   root   needs root                slow   more than about 20 s
# Programs with the label mount or root are built after the program `passthroughfs`, whose path they
# get from the environment variable PFS_PROGRAM and the macro of the same name.
function(pfs_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "SOURCES;DEPS;LABELS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "pfs_test(${name}): what is '${arg_UNPARSED_ARGUMENTS}'?")
  endif()
  if(NOT arg_LABELS)
    message(FATAL_ERROR "pfs_test(${name}) needs LABELS")
  endif()
  foreach(label IN LISTS arg_LABELS)
    if(NOT label MATCHES "^(unit|mount|root|slow)$")
      message(FATAL_ERROR "pfs_test(${name}): unknown label '${label}'")
    endif()
  endforeach()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(PASSTHROUGHFS_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 4")
  endif()

  add_executable(${name} ${arg_SOURCES})
  _pfs_setup(${name} ${arg_DEPS} GTest::gtest_main GTest::gmock)
  target_compile_definitions(${name} PRIVATE PFS_PROGRAM="${PFS_PROGRAM_FILE}")
  if(arg_LABELS MATCHES "mount|root" AND TARGET passthroughfs)
    add_dependencies(${name} passthroughfs)
  endif()

  set(properties TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "PFS_PROGRAM=${PFS_PROGRAM_FILE}")
  if(arg_LABELS MATCHES "slow")
    list(APPEND properties COST 30)  # starts early, so that it does not run alone at the end
  endif()
  if(arg_SERIAL)
    list(APPEND properties RUN_SERIAL TRUE)
  endif()
  gtest_discover_tests(${name}
    TEST_PREFIX "${name}/"
    DISCOVERY_MODE PRE_TEST  # a build must not depend on being able to run
    DISCOVERY_TIMEOUT 120
    PROPERTIES ${properties})
  # gtest_discover_tests cannot pass a property that is a list, so the labels are set afterwards.
  set(labels_file ${CMAKE_CURRENT_BINARY_DIR}/${name}_labels.cmake)
  file(WRITE ${labels_file}
    "if(${name}_TESTS)\n"
    "  set_tests_properties(\${${name}_TESTS} PROPERTIES LABELS \"${arg_LABELS}\")\n"
    "endif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${labels_file})
endfunction()

# pfs_fuzzer(NAME SOURCES init_fuzz.cc DEPS pfs_wire CORPUS corpus/init)
#
# SOURCES define LLVMFuzzerTestOneInput. The preset `fuzz` builds the fuzzer; every other one builds
# a program that feeds each file of the corpus to it once, as the unit test fuzz/NAME.
function(pfs_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS" "SOURCES;DEPS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_CORPUS)
    message(FATAL_ERROR "pfs_fuzzer(${name}) takes SOURCES, DEPS and CORPUS")
  endif()
  get_filename_component(corpus ${arg_CORPUS} ABSOLUTE)
  add_executable(${name} ${arg_SOURCES})
  _pfs_setup(${name} ${arg_DEPS})
  if(PASSTHROUGHFS_SANITIZE STREQUAL "fuzzer")
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    # `./dev fuzz` reads this list.
    file(APPEND ${PROJECT_BINARY_DIR}/fuzzers.txt "${name} ${CMAKE_CURRENT_BINARY_DIR}/${name} ${corpus}\n")
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
    add_test(NAME fuzz/${name} COMMAND ${name} ${corpus})
    set_tests_properties(fuzz/${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
endfunction()

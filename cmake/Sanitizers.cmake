# SPDX-License-Identifier: Apache-2.0
# PASSTHROUGHFS_SANITIZE: for the whole build, since a program with only some instrumented parts
# reports wrong errors (TSan) or misses real ones (ASan).
#   address  ASan and UBSan        thread  TSan
#   fuzzer   ASan, UBSan and libFuzzer's coverage (clang only)
if(PASSTHROUGHFS_SANITIZE STREQUAL "address")
  set(_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(PASSTHROUGHFS_SANITIZE STREQUAL "thread")
  set(_flags -fsanitize=thread)
elseif(PASSTHROUGHFS_SANITIZE STREQUAL "fuzzer")
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "PASSTHROUGHFS_SANITIZE=fuzzer needs clang (use the preset 'fuzz')")
  endif()
  set(_flags -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
elseif(NOT PASSTHROUGHFS_SANITIZE STREQUAL "")
  message(FATAL_ERROR "PASSTHROUGHFS_SANITIZE is '${PASSTHROUGHFS_SANITIZE}': not address, thread or fuzzer")
endif()
if(_flags)
  add_compile_options(${_flags} -fno-omit-frame-pointer)
  add_link_options(${_flags})
endif()
# gcc 12 sees uninitialised members in std::regex and std::optional once they are instrumented.
if(_flags AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-maybe-uninitialized)
endif()
# gcc's shared libubsan does not see the options of the libasan beside it: its reports would go to a
# daemon's stderr, which nobody reads, whatever log_path says. The static ones share their state.
if(PASSTHROUGHFS_SANITIZE STREQUAL "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_link_options(
    "$<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-static-libasan;-static-libubsan>")
endif()

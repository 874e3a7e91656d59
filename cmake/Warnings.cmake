# SPDX-License-Identifier: Apache-2.0
# pfs_compile_options(TARGET): how every target of this project is compiled. PRIVATE, so that none of
# it reaches users of the installed library.
function(pfs_compile_options target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
    -Wno-missing-field-initializers  # designated initialisers leave fields out on purpose
    $<$<BOOL:${PASSTHROUGHFS_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE
      -Wthread-safety
      -Wno-gnu-statement-expression)  # TRY(expr) is one
  endif()
  # The daemon may run as root and reads what any user's program sends.
  target_compile_options(${target} PRIVATE -fstack-protector-strong)
  target_link_options(${target} PRIVATE -Wl,-z,relro,-z,now)
  if(PASSTHROUGHFS_FAULT_POINTS)
    target_compile_definitions(${target} PRIVATE PFS_FAULT_POINTS)
  endif()
  if(PASSTHROUGHFS_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  else()
    target_compile_options(${target} PRIVATE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
endfunction()

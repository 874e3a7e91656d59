# SPDX-License-Identifier: Apache-2.0

# For the tests below the mount: requests as bytes, and a kernel to send them. Included as
# "support/fake_kernel.h".
add_library(pfs_fake_kernel STATIC
  ${CMAKE_CURRENT_LIST_DIR}/fake_kernel.cc ${CMAKE_CURRENT_LIST_DIR}/request_bytes.cc)
_pfs_setup(pfs_fake_kernel pfs_wire)
target_include_directories(pfs_fake_kernel PUBLIC ${PROJECT_SOURCE_DIR}/tests)

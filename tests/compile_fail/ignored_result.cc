// SPDX-License-Identifier: Apache-2.0
// A lost error is a lost write: results must be looked at, or dropped with (void) and a reason.
#pragma GCC diagnostic error "-Wunused-result"
#include "base/fd.h"

void use(passthroughfs::UniqueFd& fd) {
  (void)fd.close_checked();
#ifdef MISUSE
  fd.close_checked();
#endif
}

// SPDX-License-Identifier: Apache-2.0
// The raw close() of an owned descriptor would leave its owner to close a stranger's later.
#include "base/fd.h"

void use(const passthroughfs::UniqueFd& fd, int raw) {
  ::close(raw);
#ifdef MISUSE
  ::close(fd);
#endif
  (void)fd;
}

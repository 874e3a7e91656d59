// SPDX-License-Identifier: Apache-2.0
// A descriptor has one owner.
#include <utility>

#include "base/fd.h"

void use(passthroughfs::UniqueFd fd) {
  const passthroughfs::UniqueFd moved = std::move(fd);
#ifdef MISUSE
  const passthroughfs::UniqueFd copied = moved;
#endif
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include <string>
#include <vector>

#include "base/fd.h"

namespace passthroughfs {

// "0:53.sock", by the device number of the mount.
[[nodiscard]] std::string socket_name(dev_t device);

// Where the daemon that runs as `owner` puts its sockets, best first; a client looks at all of
// them, and SO_PEERCRED tells it whose socket it has found. Root: /run/passthroughfs, since a login
// session's directory can go away while the mount lives. Others: $XDG_RUNTIME_DIR/passthroughfs,
// /run/user/UID/passthroughfs, /run/passthroughfs, and where they can use none of these (no login
// session) /tmp/passthroughfs-UID.
[[nodiscard]] std::vector<std::string> socket_directories(uid_t owner);

// The address of `name` in an open directory: of any length, and safe from a directory that is
// replaced meanwhile. Valid as long as the descriptor is open.
[[nodiscard]] sockaddr_un address_in(BorrowedFd directory, const std::string& name);

}  // namespace passthroughfs

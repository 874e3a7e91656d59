// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/options.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// The checks that need no right to mount and give a better message than the system calls that
// would fail later. Replaces config.source and config.mountpoint by their absolute paths without
// symbolic links. Never waits for a file system that is mounted at the mount point.
Outcome<void> preflight(MountConfig& config);

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/mount_arguments.h"

namespace passthroughfs {

// A service manager starts the mount again (Restart=) when the process that it had started is gone.
// The mount may have outlived that process: then the manager is told who watches it now, and there
// is nothing else to do (true). A mount that is dead stands in the way, and is taken away. Without
// a manager, or if nothing of the same source is there, nothing happens.
[[nodiscard]] bool rejoin_service(const MountArguments& arguments);

}  // namespace passthroughfs

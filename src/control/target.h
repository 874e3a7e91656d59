// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "passthroughfs/client.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// What the control socket can ask of a mount. Called from the server's thread only; may take a
// while, which delays other clients of the socket and nobody else.
class ControlTarget {
 public:
  virtual ~ControlTarget() = default;
  [[nodiscard]] virtual std::vector<OpenFileInfo> handles() const = 0;
  [[nodiscard]] virtual Statistics stats() const = 0;
  [[nodiscard]] virtual MountInfo info() const = 0;
  // Starts the end of the mount, as SIGTERM does.
  virtual Outcome<void> request_unmount() = 0;
};

}  // namespace passthroughfs

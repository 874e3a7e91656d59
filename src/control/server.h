// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "control/target.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// The control socket of one mount and the thread that serves it. Only the user who runs this
// process and root are heard. Nothing that a client does (silence, garbage, floods, not reading)
// costs the mount more than a few buffers: the number of clients, the size of a request and the
// time for it are bounded, and the thread never touches /dev/fuse.
class ControlServer {
 public:
  struct Options {
    std::vector<std::string> directories;  // empty: the well-known ones
    std::size_t max_clients = 16;          // the one idle for longest gives way to a new one
    int patience_ms = 10'000;              // for the rest of a request, or for reading an answer
  };

  // Listens under the name of `device`, and serves. `target` must outlive the server.
  static Outcome<std::unique_ptr<ControlServer>> start(dev_t device, ControlTarget& target,
                                                       Options options);
  static Outcome<std::unique_ptr<ControlServer>> start(dev_t device, ControlTarget& target) {
    return start(device, target, Options());
  }

  // Removes the name, closes every connection, ends the thread after the request that it serves.
  virtual ~ControlServer() = default;
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;
};

}  // namespace passthroughfs

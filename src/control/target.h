// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "changes/change_queries.h"
#include "passthroughfs/client.h"
#include "passthroughfs/result.h"
#include "proto/messages.h"

namespace passthroughfs {

// What the control socket can ask of a mount. Called from the server's thread only; may take a
// while, which delays other clients of the socket and nobody else.
class ControlTarget {
 public:
  virtual ~ControlTarget() = default;
  // Some of what is open, from a position on (0: the first), at most `most`.
  [[nodiscard]] virtual OpenFilePage handles(std::uint64_t position, std::size_t most) const = 0;
  [[nodiscard]] virtual Statistics stats() const = 0;
  [[nodiscard]] virtual MountInfo info() const = 0;
  // The record of changes; nullptr: none is kept. Called, and asked, by threads of the server.
  [[nodiscard]] virtual ChangeQueries* changes() const = 0;
  // Starts the end of the mount, as SIGTERM does.
  virtual Outcome<void> request_unmount() = 0;
};

}  // namespace passthroughfs

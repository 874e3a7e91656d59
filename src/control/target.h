// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/fd.h"
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
  // Whether `program` (a descriptor), whose tables have that layout, could take over the mount;
  // nothing stops yet. If it could, upgrade() follows. Called by one thread at a time.
  virtual Outcome<void> prepare_upgrade(UniqueFd program, const std::string& layout) = 0;
  // It takes over. Ends this process.
  virtual void upgrade() = 0;
  // Starts the end of the mount, as SIGTERM does.
  virtual Outcome<void> request_unmount() = 0;
};

}  // namespace passthroughfs

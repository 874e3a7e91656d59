// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "passthroughfs/changes.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// What can be asked about the changes of one mount. Thread-safe. Calls wait for the journal: they
// can take as long as a walk of the source does, right after the mount was made.
class ChangeQueries {
 public:
  virtual ~ChangeQueries() = default;

  // A token that names this moment: what is changed from now on is in since(token). Durable when it
  // returns. Errors: EIO: the journal cannot be written; ESHUTDOWN: the mount is ending.
  virtual Outcome<std::string> checkpoint() = 0;

  // The net difference between a token's moment (none: when the mount was made) and now.
  // `renames`: false: what is below a renamed directory is spelled out as deleted and created.
  // Errors: EINVAL: no token, or one of another journal; ENOENT: a token whose record has been
  // given up; EIO, ESHUTDOWN.
  virtual Outcome<ChangeReport> since(std::optional<std::string_view> token, bool renames) = 0;

  // Once the mount is ending: waits for its end, and gives the net difference between the token's
  // moment (none: when the mount was made) and that. Errors: as since(); ESHUTDOWN also if it is
  // not ending.
  virtual Outcome<ChangeReport> until_end(std::optional<std::string_view> token) = 0;

  // Gives up what is needed only for tokens older than this one. Errors: as since().
  virtual Outcome<void> forget_before(std::string_view token) = 0;

  // Waits until something may have changed since the token's moment, at most until the deadline.
  // False: nothing did, or interrupt() was called meanwhile. A token that is none counts as
  // changed.
  virtual bool wait_for_change(std::string_view token,
                               std::chrono::steady_clock::time_point deadline) = 0;

  // The mount is ending: waits that are under way return now, later ones at once.
  virtual void interrupt() = 0;
  [[nodiscard]] virtual bool is_interrupted() const = 0;
};

}  // namespace passthroughfs

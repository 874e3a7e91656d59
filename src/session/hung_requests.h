// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "ops/mount_state.h"
#include "session/request_in_hand.h"
#include "wire/requests.h"

namespace passthroughfs {

class WorkerPool;

// "CREATE of "dir/new" (client 12)", where the node and the client are now. Does not ask the source
// anything, which may not answer.
[[nodiscard]] std::string describe_request(const RequestInHand& request, MountState& state,
                                           const wire::DecodeOptions& decode);

// What a thread of this process waits for: "waits in rt_down_read (openat)"; as much of it as the
// kernel tells.
[[nodiscard]] std::string describe_wait(pid_t thread);

// Requests that a worker has had in hand for longer than a limit: each is named in the log, once,
// and again when it is answered. Waits for locks are none of them: those are in no worker's hand.
class HungRequests {
 public:
  // `limit_ns`: not 0.
  HungRequests(MountState& state, const wire::DecodeOptions& decode,
               std::uint64_t limit_ns) noexcept
      : state_(state), decode_(decode), limit_ns_(limit_ns) {}

  // By one thread. std::bad_alloc.
  void look(WorkerPool& pool, std::uint64_t now) PFS_EXCLUDES(mutex_);

  // Thread-safe.
  struct Summary {
    std::uint64_t count = 0;
    std::string note;  // a line about them; empty: there are none
  };
  [[nodiscard]] Summary summary(std::uint64_t now) const PFS_EXCLUDES(mutex_);

 private:
  struct Hung {
    std::uint64_t begin = 0;
    std::string what;  // empty: there were too many to name
    bool seen = false;
  };
  using Lines = std::vector<std::pair<LogLevel, std::string>>;
  void find(WorkerPool& pool, std::uint64_t now, Lines& lines) PFS_REQUIRES(mutex_);
  void drop_answered(std::uint64_t now, Lines& lines) PFS_REQUIRES(mutex_);

  MountState& state_;
  const wire::DecodeOptions decode_;
  const std::uint64_t limit_ns_;
  mutable Mutex mutex_;
  RequestInHand copy_ PFS_GUARDED_BY(mutex_);  // of one that is looked at
  std::unordered_map<std::uint64_t, Hung> hung_ PFS_GUARDED_BY(mutex_);
};

}  // namespace passthroughfs

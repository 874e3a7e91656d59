// SPDX-License-Identifier: Apache-2.0
//
// The agent processes of one side, and the calls they are asked to make.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "exec.h"
#include "op.h"

namespace passthroughfs::difftest {

struct SideConfig {
  std::string base;  // the agents' directory; their root directory when `confine`
  int agents = 1;
  // As root: each agent becomes its user, and cannot leave `base`.
  bool users = false;
  bool confine = false;
  Fault fault = Fault::kNone;
  Profile profile = Profile::kExact;
  bool patient = false;
  bool exact_blocks = false;
  bool compare_atime = false;
};

// Owns the agent processes; they end with it. Not copyable, not thread-safe.
class Side {
 public:
  // Forks the agents. The process must have one thread.
  explicit Side(const SideConfig& config);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  // Asks an agent to make these calls; the answer is fetched with receive().
  bool send(int agent, std::span<const Op> ops);
  // The results of the last send() to that agent. False when it died or is stuck.
  bool receive(int agent, std::vector<Result>& results);

  // Longest silence that is not a hang.
  static constexpr int kPatienceMs = 60'000;

 private:
  struct Process {
    pid_t pid = -1;
    int channel = -1;
  };

  std::vector<Process> processes_;
  SideBoard* board_ = nullptr;
  std::string buffer_;
};

}  // namespace passthroughfs::difftest

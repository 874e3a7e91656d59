// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "control/target.h"
#include "session/session.h"

namespace passthroughfs {

// A running session as the control socket sees it. The session must outlive this.
class SessionTarget : public ControlTarget {
 public:
  // Adds what is known of the processes outside the session, if anything is.
  struct Processes {
    std::function<void(Statistics&)> add_to_stats;
    std::function<void(MountInfo&)> add_to_info;
    std::function<Outcome<void>(UniqueFd program, const std::string& layout)> prepare_upgrade;
    std::function<void()> upgrade;
  };
  SessionTarget(const Session& session, std::function<Outcome<void>()> unmount,
                Processes processes = {})
      : session_(session), unmount_(std::move(unmount)), processes_(std::move(processes)) {}

  [[nodiscard]] OpenFilePage handles(std::uint64_t position, std::size_t most) const override;
  [[nodiscard]] Statistics stats() const override;
  [[nodiscard]] MountInfo info() const override;
  [[nodiscard]] ChangeQueries* changes() const override { return session_.changes(); }
  Outcome<void> request_unmount() override { return unmount_(); }
  Outcome<void> prepare_upgrade(UniqueFd program, const std::string& layout) override;
  void upgrade() override { processes_.upgrade(); }

 private:
  const Session& session_;
  const std::function<Outcome<void>()> unmount_;
  const Processes processes_;
};

// "O_RDWR", "O_APPEND", ...: the access mode first.
[[nodiscard]] std::vector<std::string> open_flag_names(std::uint32_t flags);

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "control/target.h"
#include "session/session.h"

namespace passthroughfs {

// A running session as the control socket sees it. The session must outlive this.
class SessionTarget : public ControlTarget {
 public:
  SessionTarget(const Session& session, std::function<Outcome<void>()> unmount)
      : session_(session), unmount_(std::move(unmount)) {}

  [[nodiscard]] OpenFilePage handles(std::uint64_t position, std::size_t most) const override;
  [[nodiscard]] Statistics stats() const override;
  [[nodiscard]] MountInfo info() const override;
  [[nodiscard]] ChangeQueries* changes() const override { return session_.changes(); }
  Outcome<void> request_unmount() override { return unmount_(); }

 private:
  const Session& session_;
  const std::function<Outcome<void>()> unmount_;
};

// "O_RDWR", "O_APPEND", ...: the access mode first.
[[nodiscard]] std::vector<std::string> open_flag_names(std::uint32_t flags);

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace passthroughfs {

// Children that count as gone and have not ended (see only_waits_for_successor()): waited for when
// they have. A process that executes another program keeps its children. Not thread-safe.
class Leftovers {
 public:
  Leftovers() = default;
  explicit Leftovers(const std::string& text);  // as text() gave it, before the other program

  // Without memory for that it stays a zombie until this process ends.
  void add(pid_t child) noexcept;
  void reap() noexcept;
  void forget() noexcept { children_.clear(); }  // they are another process's
  [[nodiscard]] std::string text() const;

 private:
  std::vector<pid_t> children_;
};

}  // namespace passthroughfs

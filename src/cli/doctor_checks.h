// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace passthroughfs {

// One line of `doctor`.
struct Check {
  std::string name;
  bool ok = true;
  std::string value;              // what was found
  std::string hint;               // what it costs and how to change it; empty if nothing is missing
  std::vector<std::string> list;  // details, for lists such as flags
};

// Runs all checks. Changes nothing on the machine. Takes up to a few seconds.
[[nodiscard]] std::vector<Check> run_checks();

}  // namespace passthroughfs

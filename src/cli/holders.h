// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace passthroughfs {

// A process that keeps a mount busy.
struct Holder {
  pid_t pid = 0;
  std::string name;  // its command name
  std::string how;   // "working directory", "open file", ...
};

// The first `limit` processes other than this one that hold something on the device, as far as
// /proc shows them to this user. Sends the file system no request.
[[nodiscard]] std::vector<Holder> find_holders(dev_t device, std::size_t limit);

}  // namespace passthroughfs

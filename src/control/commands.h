// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "control/target.h"
#include "proto/framing.h"
#include "proto/messages.h"

namespace passthroughfs {

// A command of the control socket: a row of the table in commands.cc, a file in commands/.
struct ControlCommand {
  std::string_view name;
  Outcome<Json> (*run)(ControlTarget& target, const Json& arguments);
};

[[nodiscard]] std::span<const ControlCommand> control_commands() noexcept;

// Answers one request line with one reply line, without newlines. Accepts any bytes. A reply that
// would be longer than `max_bytes` is an error instead (EFBIG).
[[nodiscard]] std::string answer(ControlTarget& target, std::string_view request,
                                 std::size_t max_bytes = kMaxReplyBytes);

namespace control {

Outcome<Json> handles(ControlTarget& target, const Json& arguments);
Outcome<Json> info(ControlTarget& target, const Json& arguments);
Outcome<Json> stats(ControlTarget& target, const Json& arguments);
Outcome<Json> unmount(ControlTarget& target, const Json& arguments);

}  // namespace control
}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>

#include "proto/text.h"

namespace passthroughfs {
namespace {

constexpr auto kCommands = std::to_array<ControlCommand>({
    {"handles", control::handles},
    {"info", control::info},
    {"stats", control::stats},
    {"unmount", control::unmount},
});

Outcome<Json> run(ControlTarget& target, std::string_view line) {
  auto request = decode_request(line);
  if (!request) return request.error();
  for (const ControlCommand& command : kCommands) {
    if (command.name == request->command) return command.run(target, request->arguments);
  }
  constexpr std::size_t kShown = 40;
  return Error{ENOSYS, fmt::format("the daemon does not know the command '{}'",
                                   to_utf8(std::string_view(request->command).substr(0, kShown)))};
}

}  // namespace

std::span<const ControlCommand> control_commands() noexcept { return kCommands; }

std::string answer(ControlTarget& target, std::string_view request, std::size_t max_bytes) {
  const Outcome<Json> done = run(target, request);
  std::string reply = done ? encode_reply(*done) : encode_reply(done.error());
  if (reply.size() > max_bytes) {
    return encode_reply(Error{EFBIG, "the answer is larger than the control protocol allows"});
  }
  return reply;
}

}  // namespace passthroughfs

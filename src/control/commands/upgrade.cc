// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "control/stream.h"

namespace passthroughfs::control {

// The program comes as a descriptor with the request. {"result":{"starts":N}} says that it is about
// to take over from server N; then the connection ends with this process.
void upgrade(ControlTarget& target, const Json& arguments, ControlStream& stream) {
  UniqueFd program = stream.take_sent();
  const auto layout = arguments.find("layout");
  if (!program.valid() || layout == arguments.end() || !layout->is_string()) {
    (void)send_error(stream, {EINVAL, "no program was sent, or no layout of its tables"});
    return;
  }
  const std::uint64_t starts = target.stats().server_starts;
  if (auto prepared = target.prepare_upgrade(std::move(program), layout->get<std::string>());
      !prepared) {
    (void)send_error(stream, prepared.error());
    return;
  }
  (void)stream.send(Json{{"result", Json{{"starts", starts}}}});
  target.upgrade();
}

}  // namespace passthroughfs::control

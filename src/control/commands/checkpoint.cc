// SPDX-License-Identifier: Apache-2.0
#include "control/stream.h"

namespace passthroughfs::control {

void checkpoint(ControlTarget& target, const Json& /*arguments*/, ControlStream& stream) {
  ChangeQueries* const changes = changes_of(target, stream);
  if (changes == nullptr) return;
  const auto token = changes->checkpoint();
  (void)(token ? stream.send(Json{{"result", Json{{"token", *token}}}})
               : send_error(stream, token.error()));
}

void forget(ControlTarget& target, const Json& arguments, ControlStream& stream) {
  ChangeQueries* const changes = changes_of(target, stream);
  if (changes == nullptr) return;
  const auto before = arguments.find("before");
  if (before == arguments.end() || !before->is_string()) {
    (void)send_error(stream, {EINVAL, "\"before\" is not a token"});
    return;
  }
  const auto done = changes->forget_before(before->get<std::string>());
  (void)(done ? stream.send(Json{{"result", Json::object()}}) : send_error(stream, done.error()));
}

}  // namespace passthroughfs::control

// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

namespace passthroughfs::control {

Outcome<Json> unmount(ControlTarget& target, const Json& /*arguments*/) {
  if (auto done = target.request_unmount(); !done) return done.error();
  return Json::object();
}

}  // namespace passthroughfs::control

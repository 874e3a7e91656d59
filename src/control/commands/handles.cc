// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

namespace passthroughfs::control {

Outcome<Json> handles(ControlTarget& target, const Json& /*arguments*/) {
  return Json(target.handles());
}

}  // namespace passthroughfs::control

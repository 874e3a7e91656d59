// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

namespace passthroughfs::control {

Outcome<Json> info(ControlTarget& target, const Json& /*arguments*/) { return Json(target.info()); }

}  // namespace passthroughfs::control

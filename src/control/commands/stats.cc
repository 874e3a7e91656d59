// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

namespace passthroughfs::control {

Outcome<Json> stats(ControlTarget& target, const Json& /*arguments*/) {
  return Json(target.stats());
}

}  // namespace passthroughfs::control

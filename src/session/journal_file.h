// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

namespace passthroughfs {

// Where the journal of a source (an absolute path) is kept when nobody says otherwise: below
// $XDG_STATE_HOME/passthroughfs, else /var/lib/passthroughfs for root and
// ~/.local/state/passthroughfs for others. The directory is made if need be, for its owner alone.
// Errors: those of mkdir(2); ENOENT: no home is known.
[[nodiscard]] Result<std::string> default_journal_file(const std::string& source);

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "changes/tracker.h"
#include "source/source_tree.h"

namespace passthroughfs {

// Finds out by trying, on a file without a name in the source's root that is gone afterwards. Where
// that cannot be done the answers are the careful ones.
[[nodiscard]] SourceTraits probe_source(const SourceTree& source) noexcept;

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "changes/places.h"
#include "changes/store.h"
#include "passthroughfs/changes.h"

namespace passthroughfs {

// The net difference between the beginning of an epoch and now: what the journal says was touched
// since, weighed against what is there now. Costs what was touched, not what exists; with renames
// spelled out also what is below renamed directories. By path. May throw DatabaseError, inside a
// transaction: it may add places that it had to look for.
[[nodiscard]] std::vector<Change> net_difference(ChangeStore& store, Places& places,
                                                 const SourceTree& source, std::uint64_t since,
                                                 bool renames);

}  // namespace passthroughfs

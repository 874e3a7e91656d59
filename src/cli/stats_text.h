// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "passthroughfs/client.h"

namespace passthroughfs {

// For people: what the mount is and holds, then a table of operations.
[[nodiscard]] std::string stats_text(const MountInfo& info, const Statistics& stats);

// One JSON object: the fields of MountInfo and of Statistics.
[[nodiscard]] std::string stats_json(const MountInfo& info, const Statistics& stats);

// For Prometheus, in its text format 0.0.4.
[[nodiscard]] std::string stats_prometheus(const MountInfo& info, const Statistics& stats);

// What happened between two moments: counts, errors and latencies of `now` less those of `before`,
// everything else as it is now. Operations without a request in between are left out.
[[nodiscard]] Statistics difference(const Statistics& now, const Statistics& before);

// The table of operations alone, busiest first. `seconds`: count becomes a rate if not 0.
[[nodiscard]] std::string operations_table(const Statistics& stats, double seconds);
// The lines above it.
[[nodiscard]] std::string stats_header(const MountInfo& info, const Statistics& stats);

}  // namespace passthroughfs

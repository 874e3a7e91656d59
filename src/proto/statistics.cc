// SPDX-License-Identifier: Apache-2.0
//
// What the latency buckets of passthroughfs/client.h say.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "passthroughfs/client.h"

namespace passthroughfs {

double OperationStatistics::percentile_ns(double fraction) const {
  const std::uint64_t all = std::accumulate(latency.begin(), latency.end(), std::uint64_t{0});
  if (all == 0) return 0;
  const double rank = std::clamp(fraction, 0.0, 1.0) * static_cast<double>(all);
  double below = 0;
  for (std::size_t i = 0; i < latency.size(); ++i) {
    const auto here = static_cast<double>(latency[i]);
    if (here > 0 && below + here >= rank) {
      // Requests are taken to lie evenly in their bucket, 2^i to 2^(i+1).
      return std::exp2(static_cast<double>(i)) * (1 + (rank - below) / here);
    }
    below += here;
  }
  return max_ns();
}

double OperationStatistics::max_ns() const {
  const auto last = std::find_if(latency.rbegin(), latency.rend(), [](auto n) { return n > 0; });
  return last == latency.rend() ? 0 : std::exp2(static_cast<double>(latency.rend() - last));
}

}  // namespace passthroughfs

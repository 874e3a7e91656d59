// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "ops/options.h"
#include "wire/abi.h"
#include "wire/requests.h"

namespace passthroughfs {

// What INIT settled for the life of the connection.
struct Negotiated {
  wire::InitOut reply{};
  std::uint64_t flags = 0;  // both words, what is in force
  wire::DecodeOptions decode;
  bool again = false;  // the kernel is newer than 7: it will send another INIT of major 7
};

// `stacked_source`: the source is itself a layer over another file system (overlayfs), which counts
// against the kernel's limit of two.
// `rings`: everything is there to serve over io_uring, if the kernel offers that.
// Chooses from what this kernel offers; never by its version. EPROTO: too old to serve.
[[nodiscard]] Result<Negotiated> negotiate(const wire::InitRequest& offer,
                                           const MountConfig& config, bool stacked_source,
                                           bool rings = false) noexcept;

}  // namespace passthroughfs

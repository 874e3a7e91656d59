// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "passthroughfs/result.h"

namespace passthroughfs {

// What the kernel's INIT request offers.
struct KernelOffer {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint64_t flags = 0;  // wire::init_flag
};

// Asks the kernel: a child mounts in a mount namespace of its own (as root, or in a user namespace
// of its own), reads the request and goes away with everything. Nothing of it shows elsewhere.
// Errors: what the first refused step said, with the step in the message.
Outcome<KernelOffer> probe_kernel();

// "PASSTHROUGH", ... in order of the bits; "bit 43" for one without a name here.
[[nodiscard]] std::vector<std::string> init_flag_names(std::uint64_t flags);

}  // namespace passthroughfs

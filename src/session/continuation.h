// SPDX-License-Identifier: Apache-2.0
//
// What one program tells another that goes on with its mount (Handover), beside the memory of the
// tables.
#pragma once

#include <optional>
#include <string>

#include "base/handover.h"
#include "session/negotiate.h"

namespace passthroughfs {

// What is in the memory that the processes of a mount share, and how: programs whose layouts are
// the same text understand each other's tables.
[[nodiscard]] std::string memory_layout();

void put_negotiated(Handover& handover, const Negotiated& settled);
// nullopt: it is not there, or not whole.
[[nodiscard]] std::optional<Negotiated> get_negotiated(const Handover& handover);

}  // namespace passthroughfs

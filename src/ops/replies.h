// SPDX-License-Identifier: Apache-2.0
//
// Answers that hand something over to the kernel. If one cannot be sent, the dispatcher takes it
// back: lookup counts by forget, handles by release.
#pragma once

#include "base/bytes.h"
#include "wire/abi.h"

namespace passthroughfs {

// One lookup count of out.nodeid goes with it (none if nodeid is 0: a cached absence).
struct EntryReply {
  wire::EntryOut out;
};

// The handle goes with it.
struct OpenReply {
  wire::OpenOut out;
};

// Both.
struct CreateReply {
  wire::EntryOut entry;
  wire::OpenOut open;
};

// READDIRPLUS: a lookup count per entry whose nodeid is not 0.
struct DirentPlusReply {
  ByteSpan entries;
};

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/effect.h"
#include "wire/opcode.h"
#include "wire/reply.h"

namespace passthroughfs {

// Decodes the request, runs the operation and answers (or hands the reply on to answer later). What
// an answer that could not be sent would have given away is taken back.
using Handler = void (*)(OpContext& context, wire::Reply reply);

struct Operation {
  wire::Opcode opcode;
  Handler handler;  // nullptr: the session's own (INIT, INTERRUPT), or declined with ENOSYS
  Effect effect;
  bool declined;
};

// The row of an opcode; nullptr for one that is not in the protocol.
[[nodiscard]] const Operation* find_operation(std::uint32_t opcode) noexcept;

}  // namespace passthroughfs

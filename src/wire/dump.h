// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "wire/requests.h"

namespace passthroughfs::wire {

// One line of text for a request, for `-d`: "LOOKUP unique=4 node=1 uid=0 gid=0 pid=77 name=\"a\"".
// Decodes the arguments; a malformed request shows as such. All but printable ASCII is escaped.
[[nodiscard]] std::string dump(const Request& request, const DecodeOptions& options);

// Text in quotes, as dump() has it.
[[nodiscard]] std::string quoted(std::string_view text);

// "error=ENOENT" or "ok 128 bytes".
[[nodiscard]] std::string dump_reply(int error, std::size_t payload_bytes);

}  // namespace passthroughfs::wire

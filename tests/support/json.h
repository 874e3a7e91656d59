// SPDX-License-Identifier: Apache-2.0
//
// What the program's commands say as JSON. Parsed here, because each file that has the parser in it
// takes the compiler seconds longer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "support/mount_fixture.h"

namespace passthroughfs::test {

using Json = nlohmann::json;

// Discarded (is_discarded()) if it is none.
Json parse_json(const std::string& text);
std::string to_text(const Json& json);

// What `stats --json` says of a mount; an empty object while it says nothing.
Json stats(const Mount& mount);

}  // namespace passthroughfs::test

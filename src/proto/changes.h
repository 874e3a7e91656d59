// SPDX-License-Identifier: Apache-2.0
//
// Changes on the control socket. Four commands may take long or answer without end; each has a
// connection of its own, which is closed after it:
//   checkpoint {}                        {"result":{"token":...}}
//   forget {"before":TOKEN}              {"result":{}}
//   dirty {"since":TOKEN,"renames":bool} {"result":{"token","since","complete","reason"}}, then
//                                        {"changes":[...]} any number of times, then {"end":true}
//   watch {"since":TOKEN}                {"result":{"token":...}}, then lines as `watch` prints
//   them
// A stream without its last line was cut off. An error may stand in the place of any line.
#pragma once

#include "passthroughfs/changes.h"
#include "proto/messages.h"

namespace passthroughfs {

// {"path","type","kinds":[...],"from"}; with "path_base64", "from_base64" as in messages.h.
void to_json(Json& json, const Change& change);
void from_json(const Json& json, Change& change);

// The kinds of a change, in the order in which they are documented.
[[nodiscard]] std::vector<std::string> kinds_of(const Change& change);

// All of a report but its changes: {"token","since","complete","reason"}.
[[nodiscard]] Json report_head(const ChangeReport& report);
// Throws nlohmann::json::exception on a wrong shape.
[[nodiscard]] ChangeReport report_from_head(const Json& json);

}  // namespace passthroughfs

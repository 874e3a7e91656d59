// SPDX-License-Identifier: Apache-2.0
//
// What travels on the control socket:
//   request  {"command":"handles","arguments":{...}}          arguments may be left out
//   reply    {"result":...}  or  {"error":{"code":1,"message":"..."}}     code: an errno
// One reply per request, in order. Fields that a side does not know are ignored, so that client and
// daemon may be of different versions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "passthroughfs/client.h"
#include "passthroughfs/result.h"

namespace passthroughfs {

// Keeps fields in the order in which they are documented.
using Json = nlohmann::ordered_json;

// `handles` has an answer per page, because a mount may have millions of files open. Without
// arguments it is an array of all of them, as far as one answer can hold them; with "position" (0
// at first) it is {"handles":[...],"next":POSITION}, next being 0 on the last page. A daemon that
// does not know of pages answers with the array.
struct OpenFilePage {
  std::vector<OpenFileInfo> files;
  std::uint64_t next = 0;
};

struct ControlRequest {
  std::string command;
  Json arguments = Json::object();
};

// Lines without the newline. Decoding accepts any bytes. Errors of all: EPROTO.
[[nodiscard]] std::string encode_request(const ControlRequest& request);
Outcome<ControlRequest> decode_request(std::string_view line);
[[nodiscard]] std::string encode_reply(const Json& result);
[[nodiscard]] std::string encode_reply(const Error& error);
// The result, or the error that the daemon sent.
Outcome<Json> decode_reply(std::string_view line);

// For conversions by Json itself: `Json(files)`, `json.get<Statistics>()`. The latter throws
// nlohmann::json::exception on a wrong shape.
//
// A path that is not UTF-8 has replacement characters in "path" and its bytes in "path_base64".
void to_json(Json& json, const OpenFileInfo& file);
void from_json(const Json& json, OpenFileInfo& file);
void to_json(Json& json, const OpenFilePage& page);
void from_json(const Json& json, OpenFilePage& page);
void to_json(Json& json, const OperationStatistics& operation);
void from_json(const Json& json, OperationStatistics& operation);
void to_json(Json& json, const Statistics& stats);
void from_json(const Json& json, Statistics& stats);
void to_json(Json& json, const MountInfo& info);
void from_json(const Json& json, MountInfo& info);

// "2024-05-06T07:08:09.123Z"
[[nodiscard]] std::string format_time(std::chrono::system_clock::time_point time);
// Errors: EPROTO.
Outcome<std::chrono::system_clock::time_point> parse_time(const std::string& text);

}  // namespace passthroughfs

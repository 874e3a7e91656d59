// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "control/stream.h"
#include "proto/changes.h"

namespace passthroughfs::control {
namespace {

constexpr std::size_t kPerLine = 500;

}  // namespace

void dirty(ControlTarget& target, const Json& arguments, ControlStream& stream) {
  ChangeQueries* const changes = changes_of(target, stream);
  if (changes == nullptr) return;
  std::optional<std::string> since;
  if (const auto given = arguments.find("since"); given != arguments.end()) {
    if (!given->is_string()) {
      (void)send_error(stream, {EINVAL, "\"since\" is not a token"});
      return;
    }
    since = given->get<std::string>();
  }
  const auto renames = arguments.find("renames");
  const auto report = changes->since(
      since, renames == arguments.end() || !renames->is_boolean() || renames->get<bool>());
  if (!report) {
    (void)send_error(stream, report.error());
    return;
  }
  if (!stream.send(Json{{"result", report_head(*report)}})) return;
  const auto& all = report->changes;
  for (std::size_t at = 0; at < all.size(); at += kPerLine) {
    Json line;
    Json& batch = line["changes"] = Json::array();
    for (std::size_t i = at; i < std::min(at + kPerLine, all.size()); ++i) batch.push_back(all[i]);
    if (!stream.send(line)) return;
  }
  (void)stream.send(Json{{"end", true}});
}

}  // namespace passthroughfs::control

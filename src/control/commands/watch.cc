// SPDX-License-Identifier: Apache-2.0
#include "control/stream.h"
#include "proto/changes.h"

namespace passthroughfs::control {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// What happens within this time is told together.
constexpr milliseconds kGather{50};
constexpr milliseconds kLook{1000};  // for a client that has gone

bool send_incomplete(ControlStream& stream, const ChangeReport& report) {
  Json line = Json::object();
  line["complete"] = false;
  line["reason"] = report.reason;
  line["token"] = report.since;
  return stream.send(line);
}

// A line per change. Only the last one has the report's own token: from those before, resuming
// would lose what follows them.
bool send_changes(ControlStream& stream, const ChangeReport& report) {
  if (!report.complete && !send_incomplete(stream, report)) return false;
  for (std::size_t i = 0; i < report.changes.size(); ++i) {
    Json line = Json::object();
    line["token"] = i + 1 == report.changes.size() ? report.token : report.since;
    line.update(Json(report.changes[i]));
    if (!stream.send(line)) return false;
  }
  return true;
}

}  // namespace

void watch(ControlTarget& target, const Json& arguments, ControlStream& stream) {
  ChangeQueries* const changes = changes_of(target, stream);
  if (changes == nullptr) return;
  std::string token;
  if (const auto since = arguments.find("since"); since != arguments.end()) {
    if (!since->is_string()) {
      (void)send_error(stream, {EINVAL, "\"since\" is not a token"});
      return;
    }
    token = since->get<std::string>();
    // A token that is none should be heard of at once.
    if (auto known = changes->since(token, true); !known) {
      (void)send_error(stream, known.error());
      return;
    }
  } else {
    auto now = changes->checkpoint();
    if (!now) {
      (void)send_error(stream, now.error());
      return;
    }
    token = *now;
  }
  if (!stream.send(Json{{"result", Json{{"token", token}}}})) return;
  (void)stream.take_behind();
  while (!changes->is_interrupted()) {
    auto report = changes->since(token, true);
    if (!report) {
      if (changes->is_interrupted()) break;
      (void)send_error(stream, report.error());
      return;
    }
    if (!send_changes(stream, *report)) return;
    token = report->token;
    // The reader was slow: what happened meanwhile comes merged.
    if (stream.take_behind() && !stream.send(Json{{"gap", true}, {"since", token}})) return;
    (void)stream.take_behind();
    while (!changes->is_interrupted() && !changes->wait_for_change(token, Clock::now() + kLook)) {
      if (!stream.is_wanted(milliseconds(0)) && !changes->is_interrupted()) return;
    }
    if (!stream.is_wanted(kGather) && !changes->is_interrupted()) return;
  }
  // What has happened since then is the last there is to tell.
  if (auto last = changes->until_end(token)) {
    (void)send_changes(stream, *last);
  } else {
    (void)send_error(stream, last.error());
  }
}

}  // namespace passthroughfs::control

// SPDX-License-Identifier: Apache-2.0
#include "proto/changes.h"

#include <array>

#include "proto/bytes_field.h"

namespace passthroughfs {
namespace {

struct Kind {
  const char* name;
  bool Change::*field;
};

constexpr auto kKinds = std::to_array<Kind>({{"created", &Change::created},
                                             {"deleted", &Change::deleted},
                                             {"data", &Change::data},
                                             {"attributes", &Change::attributes},
                                             {"xattr", &Change::xattr},
                                             {"renamed", &Change::renamed}});

}  // namespace

std::vector<std::string> kinds_of(const Change& change) {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) {
    if (change.*kind.field) names.emplace_back(kind.name);
  }
  return names;
}

void to_json(Json& json, const Change& change) {
  json = Json::object();
  put_bytes(json, "path", change.path);
  json["type"] = change.type;
  json["kinds"] = kinds_of(change);
  if (change.renamed) put_bytes(json, "from", change.from);
}

void from_json(const Json& json, Change& change) {
  get_bytes(json, "path", change.path);
  json.at("type").get_to(change.type);
  for (const Json& name : json.at("kinds")) {
    // One of a later version says nothing here.
    for (const Kind& kind : kKinds) {
      if (name == kind.name) change.*kind.field = true;
    }
  }
  if (json.contains("from")) get_bytes(json, "from", change.from);
}

Json report_head(const ChangeReport& report) {
  Json json = Json::object();
  json["token"] = report.token;
  json["since"] = report.since;
  json["complete"] = report.complete;
  if (!report.complete) json["reason"] = report.reason;
  return json;
}

ChangeReport report_from_head(const Json& json) {
  ChangeReport report;
  json.at("token").get_to(report.token);
  json.at("since").get_to(report.since);
  json.at("complete").get_to(report.complete);
  if (json.contains("reason")) json.at("reason").get_to(report.reason);
  return report;
}

}  // namespace passthroughfs

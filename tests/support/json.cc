// SPDX-License-Identifier: Apache-2.0
#include "support/json.h"

namespace passthroughfs::test {

Json parse_json(const std::string& text) { return Json::parse(text, nullptr, false); }

std::string to_text(const Json& json) { return json.dump(1); }

Json stats(const Mount& mount) {
  Json json = parse_json(mount.command({"stats", mount.mnt(), "--json"}).out);
  return json.is_object() ? json : Json::object();
}

}  // namespace passthroughfs::test

// SPDX-License-Identifier: Apache-2.0
#include "support/told_changes.h"

#include <gtest/gtest.h>

#include "support/json.h"

namespace passthroughfs::test {

std::string chomp(std::string text) {
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string checkpoint(const Mount& mount) {
  const ProgramResult result = mount.command({"checkpoint", mount.mnt()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return chomp(result.out);
}

Changes dirty(const Mount& mount, const std::string& since, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"dirty", mount.mnt(), "--json"};
  if (!since.empty()) arguments.insert(arguments.end(), {"--since", since});
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = mount.command(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  Changes changes;
  const auto report = parse_json(result.out);
  if (report.is_discarded()) {
    ADD_FAILURE() << result.out;
    return changes;
  }
  EXPECT_TRUE(report.at("complete"));
  for (const auto& change : report.at("changes")) {
    std::string kinds;
    for (const std::string kind : change.at("kinds")) {
      kinds += (kinds.empty() ? "" : ",") + kind;
      if (kind == "renamed") kinds += "<-" + change.at("from").get<std::string>();
    }
    changes[change.at("path")] = kinds;
  }
  return changes;
}

}  // namespace passthroughfs::test

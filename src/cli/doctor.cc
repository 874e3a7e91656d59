// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/doctor_checks.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/version.h"
#include "proto/messages.h"

namespace passthroughfs {
namespace {

std::string as_json(const std::vector<Check>& checks) {
  Json rows = Json::array();
  for (const Check& check : checks) {
    Json row{{"name", check.name},
             {"status", check.ok ? "ok" : "warn"},
             {"value", check.value},
             {"hint", check.hint}};
    if (!check.list.empty()) row["list"] = check.list;
    rows.push_back(std::move(row));
  }
  const Json json{{"version", PASSTHROUGHFS_VERSION}, {"checks", std::move(rows)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

// Words in lines of at most this width, indented.
std::string wrapped(const std::vector<std::string>& words, std::size_t indent) {
  constexpr std::size_t kWidth = 100;
  const std::string margin(indent, ' ');
  std::string text;
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > kWidth) {
      text += margin + line + '\n';
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return line.empty() ? text : text + margin + line + '\n';
}

std::string as_text(const std::vector<Check>& checks) {
  std::size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  std::string text = fmt::format("passthroughfs {}\n", PASSTHROUGHFS_VERSION);
  for (const Check& check : checks) {
    text +=
        fmt::format("{:5} {:{}}  {}\n", check.ok ? "ok" : "warn", check.name, width, check.value);
    text += wrapped(check.list, width + 8);
    if (!check.hint.empty()) text += fmt::format("{:{}}-> {}\n", "", width + 8, check.hint);
  }
  return text;
}

}  // namespace

int run_doctor(Arguments arguments) {
  CommandLine command("Shows what this kernel and this user can do, and what is missing for more.",
                      "passthroughfs doctor");
  bool json = false;
  command.flag("--json", json, "as a JSON object");
  if (auto code = command.parse(arguments)) return *code;
  const std::vector<Check> checks = run_checks();
  return print(json ? as_json(checks) : as_text(checks)) ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

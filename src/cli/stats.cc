// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/stats_text.h"
#include "passthroughfs/client.h"

namespace passthroughfs {
int run_stats(Arguments arguments) {
  CommandLine command("Shows what a mount has done and what it holds.", "passthroughfs stats");
  std::string mountpoint;
  bool json = false;
  bool prometheus = false;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  const auto json_flag = command.flag("--json", json, "as a JSON object");
  command.flag("--prometheus", prometheus, "in the text format of Prometheus").excludes(json_flag);
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  const auto info = client->info();
  const auto stats = client->stats();
  if (!info || !stats) {
    report(!info ? info.error().message : stats.error().message);
    return kExitFailure;
  }
  const std::string text = json         ? stats_json(*info, *stats)
                           : prometheus ? stats_prometheus(*info, *stats)
                                        : stats_text(*info, *stats);
  return print(text) ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

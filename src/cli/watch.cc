// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/client.h"

namespace passthroughfs {

int run_watch(Arguments arguments) {
  CommandLine command("Prints a JSON line for each change, as it happens, until the mount ends.",
                      "passthroughfs watch");
  std::string mountpoint;
  std::string token;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  const auto given =
      command.option("--since", token, "begin with what has changed since this moment")
          .called("TOKEN");
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  bool printed = true;
  const auto watched =
      client->watch(given.given() ? token : std::optional<std::string>(),
                    [&](const std::string& line) { return printed = print(line + "\n"); });
  if (!printed) return kExitFailure;
  // The end of the mount is the end of what there is to tell.
  if (!watched && watched.error().code != EPIPE && watched.error().code != ESHUTDOWN) {
    report(watched.error().message);
    return kExitFailure;
  }
  return kExitOk;
}

}  // namespace passthroughfs

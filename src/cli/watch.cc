// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/client.h"

namespace passthroughfs {

int run_watch(Arguments arguments) {
  CLI::App app("Prints a JSON line for each change, as it happens, until the mount ends.",
               "passthroughfs watch");
  std::string mountpoint;
  std::string token;
  app.add_option("MOUNTPOINT", mountpoint, "the mount")->required();
  const auto* const given =
      app.add_option("--since", token, "begin with what has changed since this moment")
          ->type_name("TOKEN");
  if (auto code = parse(app, arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  bool printed = true;
  const auto watched =
      client->watch(given->count() == 0 ? std::optional<std::string>() : token,
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

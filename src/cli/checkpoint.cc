// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "passthroughfs/client.h"

namespace passthroughfs {

int run_checkpoint(Arguments arguments) {
  CommandLine command(
      "Prints a token that names this moment, for `dirty --since` and `watch --since`.",
      "passthroughfs checkpoint");
  std::string mountpoint;
  std::string forget;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  command
      .option("--forget-before", forget, "give up what is needed only for tokens before this one")
      .called("TOKEN");
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  if (!forget.empty()) {
    if (auto done = client->forget_before(forget); !done) {
      report(done.error().message);
      return kExitFailure;
    }
  }
  const auto token = client->checkpoint();
  if (!token) {
    report(token.error().message);
    return kExitFailure;
  }
  return print(*token + "\n") ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

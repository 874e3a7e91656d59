// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/core.h>

#include "base/fd.h"
#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "embed/upgrade.h"
#include "passthroughfs/client.h"
#include "passthroughfs/version.h"

namespace passthroughfs {

int run_upgrade(Arguments arguments) {
  CommandLine command("Lets this program serve a running mount, in the place of the one that does.",
                      "passthroughfs upgrade");
  std::string mountpoint;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  const auto before = client->info();
  const UniqueFd program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program.valid()) {
    report("cannot open this program: " + Errno::last().to_string());
    return kExitFailure;
  }
  if (auto upgraded = client->upgrade(program.get(), program_layout()); !upgraded) {
    report(fmt::format("{} is not upgraded: {}", mountpoint, upgraded.error().message));
    return kExitFailure;
  }
  auto again = Client::connect(mountpoint);
  const auto stats = again ? again->stats() : Outcome<Statistics>(again.error());
  const double pause = stats ? static_cast<double>(stats->last_pause_ns) / 1e6 : 0;
  const std::string line =
      fmt::format("{} is served by {} (before: {}); names waited {:.1f} ms\n", mountpoint,
                  PASSTHROUGHFS_VERSION, before ? before->version : "unknown", pause);
  return print(line) ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

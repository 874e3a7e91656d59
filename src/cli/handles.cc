// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/table.h"
#include "passthroughfs/client.h"
#include "proto/messages.h"
#include "proto/text.h"

namespace passthroughfs {
namespace {

std::string as_text(const std::vector<OpenFileInfo>& files) {
  using Align = Table::Align;
  Table table({{"FH"},
               {"PID"},
               {"OPENED", Align::left},
               {"IO", Align::left},
               {"READS"},
               {"READ"},
               {"WRITES"},
               {"WRITTEN"},
               {"FLAGS", Align::left},
               {"PATH", Align::left}});
  for (const OpenFileInfo& file : files) {
    table.add({fmt::format("{:x}", file.fh), fmt::format("{}", file.pid), format_time(file.opened),
               file.io, fmt::format("{}", file.reads),
               format_bytes(static_cast<double>(file.bytes_read)), fmt::format("{}", file.writes),
               format_bytes(static_cast<double>(file.bytes_written)),
               fmt::format("{}", fmt::join(file.flags, "|")),
               escape_for_terminal(file.path) + (file.deleted ? " (deleted)" : "")});
  }
  return table.text();
}

}  // namespace

int run_handles(Arguments arguments) {
  CLI::App app("Shows the files and directories that are open on a mount.",
               "passthroughfs handles");
  std::string mountpoint;
  bool json = false;
  app.add_option("MOUNTPOINT", mountpoint, "the mount")->required();
  app.add_flag("--json", json, "as a JSON array");
  if (auto code = parse(app, arguments)) return *code;

  auto client = Client::connect(mountpoint);
  auto files = client ? client->handles() : Outcome<std::vector<OpenFileInfo>>(client.error());
  if (!files) {
    report(files.error().message);
    return kExitFailure;
  }
  const std::string text = json ? Json(*files).dump(2) + '\n' : as_text(*files);
  return print(text) ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

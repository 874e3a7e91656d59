// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/pieces.h"
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

// Page by page, as one array.
class JsonArray {
 public:
  void add(const OpenFileInfo& file) {
    output_.add(empty_ ? "[\n  " : ",\n  ");
    output_.add(indented(Json(file).dump(2), 2));
    empty_ = false;
  }
  bool finish() {
    output_.add(empty_ ? "[]\n" : "\n]\n");
    return output_.finish();
  }

 private:
  Pieces output_;
  bool empty_ = true;
};

Outcome<bool> print_json(Client& client) {
  JsonArray array;
  auto done = client.visit_handles([&](const OpenFileInfo& file) { array.add(file); });
  if (!done) return done.error();
  return array.finish();
}

Outcome<bool> print_table(Client& client) {
  const auto files = client.handles();
  if (!files) return files.error();
  return print(as_text(*files));
}

}  // namespace

int run_handles(Arguments arguments) {
  CommandLine command("Shows the files and directories that are open on a mount.",
                      "passthroughfs handles");
  std::string mountpoint;
  bool json = false;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  command.flag("--json", json, "as a JSON array");
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  auto printed = !client ? Outcome<bool>(client.error())
                 : json  ? print_json(*client)
                         : print_table(*client);
  if (!printed) {
    report(printed.error().message);
    return kExitFailure;
  }
  return *printed ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

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

// Page by page, as one array: there may be a million of them.
class JsonArray {
 public:
  void add(const OpenFileInfo& file) {
    std::string lines = Json(file).dump(2);
    for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 3) {
      lines.insert(at + 1, "  ");
    }
    text_ += empty_ ? "[\n  " : ",\n  ";
    text_ += lines;
    empty_ = false;
    if (text_.size() > kPiece) flush();
  }
  bool finish() {
    text_ += empty_ ? "[]\n" : "\n]\n";
    flush();
    return printed_;
  }

 private:
  static constexpr std::size_t kPiece = 64U << 10;
  void flush() {
    printed_ = printed_ && print(text_);
    text_.clear();
  }

  std::string text_;
  bool empty_ = true;
  bool printed_ = true;
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
  CLI::App app("Shows the files and directories that are open on a mount.",
               "passthroughfs handles");
  std::string mountpoint;
  bool json = false;
  app.add_option("MOUNTPOINT", mountpoint, "the mount")->required();
  app.add_flag("--json", json, "as a JSON array");
  if (auto code = parse(app, arguments)) return *code;

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

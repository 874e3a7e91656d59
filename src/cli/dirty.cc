// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/pieces.h"
#include "cli/report.h"
#include "passthroughfs/client.h"
#include "proto/changes.h"
#include "proto/text.h"

namespace passthroughfs {
namespace {

// Whether a path is there no more. What was renamed is gone from where it was.
void print_nul(Pieces& output, const Change& change, bool deleted) {
  const auto put = [&](const std::string& path) {
    output.add(path);
    output.add(std::string_view("\0", 1));
  };
  if (change.deleted == deleted) put(change.path);
  if (deleted && change.renamed) put(change.from);
}

void print_line(Pieces& output, const Change& change, bool terminal) {
  output.add(fmt::format("{}\t{}\n", fmt::join(kinds_of(change), ","),
                         terminal ? escape_for_terminal(change.path) : change.path));
}

// The changes are kept as text, because what stands before them is known at the end only: an answer
// that breaks off is none.
bool print_json(Client& client, const std::optional<std::string>& since, bool renames, bool deleted,
                Outcome<ChangeReport>& report) {
  std::vector<std::string> pieces;
  report = client.visit_changes(since, renames, [&](const Change& change) {
    if (!deleted || change.deleted) pieces.push_back(indented(Json(change).dump(2), 4));
  });
  if (!report) return false;
  const Json head = report_head(*report);
  Pieces output;
  output.add("{\n");
  for (const auto& [name, value] : head.items()) {
    output.add(fmt::format("  \"{}\": {},\n", name, value.dump()));
  }
  output.add("  \"changes\": [");
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    output.add(i == 0 ? "\n    " : ",\n    ");
    output.add(pieces[i]);
  }
  output.add(pieces.empty() ? "]\n}\n" : "\n  ]\n}\n");
  return output.finish();
}

}  // namespace

int run_dirty(Arguments arguments) {
  CommandLine command("Shows the net difference between a token's moment and now, by path.",
                      "passthroughfs dirty");
  std::string mountpoint;
  std::string token;
  bool json = false;
  bool nul = false;
  bool no_renames = false;
  bool deleted = false;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  const auto given =
      command.option("--since", token, "from this moment on (default: when the mount was made)")
          .called("TOKEN");
  const auto as_json = command.flag("--json", json, "as a JSON object");
  command.flag("-0", nul, "the paths that still exist, each ended by NUL; implies --no-renames")
      .excludes(as_json);
  command.flag("--no-renames", no_renames,
               "spell out what is below renamed directories as deleted and created");
  command.flag("--deleted", deleted, "only what is not there any more");
  if (auto code = command.parse(arguments)) return *code;

  auto client = Client::connect(mountpoint);
  if (!client) {
    report(client.error().message);
    return kExitFailure;
  }
  const std::optional<std::string> since = given.given() ? token : std::optional<std::string>();
  // Whoever copies the paths of a list needs all of them.
  const bool renames = !no_renames && !nul;
  Outcome<ChangeReport> told = Error{};
  bool printed = false;
  if (json) {
    printed = print_json(*client, since, renames, deleted, told);
  } else {
    Pieces output;
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    told = client->visit_changes(since, renames, [&](const Change& change) {
      if (nul) {
        print_nul(output, change, deleted);
      } else if (!deleted || change.deleted) {
        print_line(output, change, terminal);
      }
    });
    printed = output.finish();
  }
  if (!told) {
    report(told.error().message);
    return kExitFailure;
  }
  if (!told->complete) {
    report("there may be more changes than these: " + told->reason);
    return printed ? kExitIncomplete : kExitFailure;
  }
  return printed ? kExitOk : kExitFailure;
}

}  // namespace passthroughfs

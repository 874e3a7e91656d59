// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "cli/commands.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/stats_text.h"
#include "passthroughfs/client.h"

namespace passthroughfs {
namespace {

// As many lines as the terminal shows.
std::string cut_to_screen(const std::string& text) {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 2) return text;
  std::size_t end = 0;
  for (int line = 1; line < size.ws_row; ++line) {
    const std::size_t next = text.find('\n', end);
    if (next == std::string::npos) return text;
    end = next + 1;
  }
  return text.substr(0, end);
}

}  // namespace

int run_top(Arguments arguments) {
  CommandLine command("Shows the operations of a mount as they happen, until Ctrl-C.",
                      "passthroughfs top");
  std::string mountpoint;
  double interval = 1;
  unsigned count = 0;
  command.option("MOUNTPOINT", mountpoint, "the mount").required();
  command.option("-i,--interval", interval, "seconds between two looks (default: 1)")
      .within(0.1, 3600.0);
  command.option("-n,--count", count, "end after so many looks (default: never)");
  if (auto code = command.parse(arguments)) return *code;

  using Clock = std::chrono::steady_clock;
  auto client = Client::connect(mountpoint);
  auto info = client ? client->info() : Outcome<MountInfo>(client.error());
  auto before = info ? client->stats() : Outcome<Statistics>(info.error());
  if (!before) {
    report(before.error().message);
    return kExitFailure;
  }
  auto looked = Clock::now();
  const bool screen = isatty(STDOUT_FILENO) == 1;
  for (unsigned look = 0; count == 0 || look < count; ++look) {
    std::this_thread::sleep_for(std::chrono::duration<double>(interval));
    auto now = client->stats();
    if (!now) {
      report(now.error().message);
      return now.error().code == EPIPE ? kExitOk : kExitFailure;  // unmounted: nothing more to see
    }
    const auto time = Clock::now();
    const double seconds = std::chrono::duration<double>(time - looked).count();
    const std::string text =
        stats_header(*info, *now) + '\n' + operations_table(difference(*now, *before), seconds);
    // Home and clear: every look in place of the last one.
    if (!print(screen ? "\033[H\033[2J" + cut_to_screen(text) : text + '\n')) return kExitFailure;
    before = std::move(now);
    looked = time;
  }
  return kExitOk;
}

}  // namespace passthroughfs

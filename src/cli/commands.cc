// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <fmt/format.h>

#include <array>

#include "cli/mount_arguments.h"

namespace passthroughfs {
namespace {

constexpr auto kCommands = std::to_array<Command>({
    {"mount", run_mount, "SOURCE MOUNTPOINT   mount a directory (the word can be left out)"},
});

}  // namespace

std::span<const Command> commands() noexcept { return kCommands; }

std::string general_help() {
  std::string text = mount_help();
  text += "\nCommands (each has its own --help):\n";
  for (const Command& command : kCommands) {
    if (command.run == nullptr) continue;
    text += fmt::format("  passthroughfs {} {}\n", command.name, command.summary);
  }
  return text;
}

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace passthroughfs {

// Exit codes of every command.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;       // the command line itself is wrong
inline constexpr int kExitIncomplete = 3;  // what was printed may not be all

using Arguments = std::span<const char* const>;  // without the program's and the command's names

// A subcommand: a row of the table in main.cc and a file of its own.
struct Command {
  std::string_view name;
  int (*run)(Arguments);  // nullptr: of a later version
  std::string_view arguments;
  std::string_view summary;
};

int run_mount(Arguments arguments);
int run_umount(Arguments arguments);
int run_handles(Arguments arguments);
int run_stats(Arguments arguments);
int run_top(Arguments arguments);
int run_doctor(Arguments arguments);
int run_checkpoint(Arguments arguments);
int run_dirty(Arguments arguments);
int run_watch(Arguments arguments);
int run_fsmonitor(Arguments arguments);
int run_upgrade(Arguments arguments);

[[nodiscard]] std::span<const Command> commands() noexcept;
[[nodiscard]] std::string general_help();

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
//
// passthroughfs COMMAND ..., or passthroughfs SOURCE MOUNTPOINT ... without the word "mount".
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/report.h"

namespace {

using namespace passthroughfs;

int run(Arguments words) {
  if (words.empty()) return run_mount(words);
  const std::string_view first = words.front();
  if (first == "--help" || first == "-h" || first == "help") {
    return print(general_help()) ? kExitOk : kExitFailure;
  }
  for (const Command& command : commands()) {
    if (command.name != first) continue;
    if (command.run == nullptr) {
      report(fmt::format("the command '{}' is not available in this version", first));
      return kExitFailure;
    }
    return command.run(words.subspan(1));
  }
  return run_mount(words);
}

}  // namespace

int main(int argc, char** argv) {
  // A caller may have closed the standard streams; their numbers must not go to other files.
  int null = -1;
  do {
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (null >= 0 && null <= STDERR_FILENO);
  if (null >= 0) close(null);
  try {
    const std::vector<const char*> words(argv + std::min(argc, 1), argv + argc);
    return run(words);
  } catch (const std::exception& error) {
    report(error.what());
    return kExitFailure;
  }
}

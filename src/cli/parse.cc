// SPDX-License-Identifier: Apache-2.0
#include "cli/parse.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cli/report.h"

namespace passthroughfs {

std::optional<int> parse(CLI::App& app, Arguments arguments) {
  try {
    // CLI11 takes them last first.
    std::vector<std::string> words(arguments.begin(), arguments.end());
    std::reverse(words.begin(), words.end());
    app.parse(std::move(words));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    return print(app.help()) ? kExitOk : kExitFailure;
  } catch (const CLI::ParseError& error) {
    report(error.what());
    return kExitUsage;
  }
}

}  // namespace passthroughfs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
// Whoever makes an App needs these too: with clang their virtual tables come from here alone.
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <optional>

#include "cli/commands.h"

namespace passthroughfs {

// Parses the arguments of a subcommand. A value is the exit code to end with: the help text was
// asked for and printed, or the arguments are wrong and that was reported.
std::optional<int> parse(CLI::App& app, Arguments arguments);

}  // namespace passthroughfs

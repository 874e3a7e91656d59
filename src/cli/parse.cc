// SPDX-License-Identifier: Apache-2.0
#include "cli/parse.h"

#include <CLI/App.hpp>
// Whoever makes an App needs these too: with clang their virtual tables come from here alone.
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <utility>
#include <vector>

#include "cli/report.h"

namespace passthroughfs {

using Argument = CommandLine::Argument;

Argument Argument::required() const { return Argument(option_->required()); }
Argument Argument::called(const std::string& what) const {
  return Argument(option_->type_name(what));
}
Argument Argument::within(double least, double most) const {
  return Argument(option_->check(CLI::Range(least, most)));
}
Argument Argument::excludes(const Argument& other) const {
  return Argument(option_->excludes(other.option_));
}
bool Argument::given() const { return option_->count() != 0; }

CommandLine::CommandLine(const std::string& description, const std::string& program)
    : app_(std::make_unique<CLI::App>(description, program)) {}
CommandLine::~CommandLine() = default;

Argument CommandLine::option(const std::string& name, std::string& value, const std::string& text) {
  return Argument(app_->add_option(name, value, text));
}
Argument CommandLine::option(const std::string& name, double& value, const std::string& text) {
  return Argument(app_->add_option(name, value, text));
}
Argument CommandLine::option(const std::string& name, unsigned& value, const std::string& text) {
  return Argument(app_->add_option(name, value, text));
}
Argument CommandLine::flag(const std::string& name, bool& value, const std::string& text) {
  return Argument(app_->add_flag(name, value, text));
}

std::optional<int> CommandLine::parse(Arguments arguments) {
  try {
    // CLI11 takes them last first.
    std::vector<std::string> words(arguments.begin(), arguments.end());
    std::reverse(words.begin(), words.end());
    app_->parse(std::move(words));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    return print(app_->help()) ? kExitOk : kExitFailure;
  } catch (const CLI::ParseError& error) {
    report(error.what());
    return kExitUsage;
  }
}

}  // namespace passthroughfs

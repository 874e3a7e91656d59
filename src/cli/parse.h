// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/commands.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace passthroughfs {

// The arguments of one subcommand: first what there may be, then parse(). CLI11 behind it, whose
// headers only parse.cc includes: they take the compiler seconds in each file.
class CommandLine {
 public:
  class Argument {
   public:
    explicit Argument(CLI::Option* option) noexcept : option_(option) {}
    Argument required() const;
    // What stands for the value in the help text.
    Argument called(const std::string& what) const;
    Argument within(double least, double most) const;
    Argument excludes(const Argument& other) const;
    // Only after parse().
    [[nodiscard]] bool given() const;

   private:
    CLI::Option* option_;  // the App's
  };

  CommandLine(const std::string& description, const std::string& program);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // `value` must outlive parse(), which sets it. Without a leading dash the argument goes by its
  // position.
  Argument option(const std::string& name, std::string& value, const std::string& text);
  Argument option(const std::string& name, double& value, const std::string& text);
  Argument option(const std::string& name, unsigned& value, const std::string& text);
  Argument flag(const std::string& name, bool& value, const std::string& text);

  // A value is the exit code to end with: the help text was asked for and printed, or the arguments
  // are wrong and that was reported.
  [[nodiscard]] std::optional<int> parse(Arguments arguments);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace passthroughfs

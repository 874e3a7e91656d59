// SPDX-License-Identifier: Apache-2.0
#include "cli/mount_arguments.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <iterator>

#include "embed/mount_options.h"

namespace passthroughfs {
namespace {

// Options of the program rather than of the mount; the names work after -o and -- too.
struct ProgramOption {
  std::string_view name;
  char letter;  // 0: none
  std::string_view value;
  std::string_view help;
};
constexpr auto kProgramOptions = std::to_array<ProgramOption>({
    {"foreground", 'f', "", "stay in the foreground, log to stderr"},
    {"debug", 'd', "", "like -f, and log every request"},
    {"log", 0, "FILE", "append log lines to FILE (SIGHUP: open it again)"},
    {"help", 'h', "", "show this text"},
    {"version", 'V', "", "show the version"},
});

const ProgramOption* find_program_option(std::string_view name) {
  for (const ProgramOption& option : kProgramOptions) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

bool takes_value(std::string_view name) {
  if (const auto* option = find_program_option(name)) return !option->value.empty();
  const MountOption* option = find_mount_option(name);
  return option != nullptr && option->kind != ValueKind::flag;
}

class Parser {
 public:
  explicit Parser(Arguments arguments) : rest_(arguments) {}

  Outcome<MountArguments> run() {
    while (!rest_.empty()) {
      const std::string_view word = next();
      Outcome<void> taken;
      if (options_ended_ || word == "-" || !word.starts_with('-')) {
        words_.emplace_back(word);
      } else if (word == "--") {
        options_ended_ = true;
      } else if (word.starts_with("--")) {
        taken = long_option(word.substr(2));
      } else {
        taken = short_options(word.substr(1));
      }
      if (!taken) return taken.error();
      if (parsed_.help || parsed_.version) return std::move(parsed_);
    }
    if (auto named = name_places(); !named) return named.error();
    return std::move(parsed_);
  }

 private:
  std::string_view next() {
    const std::string_view word = rest_.front();
    rest_ = rest_.subspan(1);
    return word;
  }

  Outcome<void> name_places() {
    if (words_.size() < 2) {
      return Error{EINVAL, fmt::format("no {} given; usage: passthroughfs SOURCE MOUNTPOINT "
                                       "[-o option[=value],...]",
                                       words_.empty() ? "SOURCE and MOUNTPOINT" : "MOUNTPOINT")};
    }
    if (words_.size() > 2) {
      return Error{EINVAL,
                   fmt::format("unexpected word '{}' after SOURCE and MOUNTPOINT", words_[2])};
    }
    for (const std::string& word : words_) {
      if (word.empty()) return Error{EINVAL, "SOURCE and MOUNTPOINT must not be empty"};
    }
    parsed_.config.source = words_[0];
    parsed_.config.mountpoint = words_[1];
    return {};
  }

  // --name, --name=value, --name value
  Outcome<void> long_option(std::string_view text) {
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    if (equals != std::string_view::npos) return apply(name, text.substr(equals + 1), true);
    if (takes_value(name) && !rest_.empty()) return apply(name, next(), true);
    return apply(name, {}, false);
  }

  // -f, -fd, -o ro, -oro, -fo ro
  Outcome<void> short_options(std::string_view letters) {
    for (std::size_t i = 0; i < letters.size(); ++i) {
      switch (letters[i]) {
        case 'o':
        case 't': {
          std::string_view value = letters.substr(i + 1);
          if (value.empty()) {
            if (rest_.empty()) {
              return Error{EINVAL, fmt::format("option -{} needs a value", letters[i])};
            }
            value = next();
          }
          // -t TYPE comes from mount(8), which has found this program by it.
          return letters[i] == 'o' ? option_list(value) : Outcome<void>();
        }
        case 'n':  // mount(8)'s: no mtab, be lenient, be verbose
        case 's':
        case 'v': break;
        default: {
          const ProgramOption* option = nullptr;
          for (const ProgramOption& candidate : kProgramOptions) {
            if (candidate.letter == letters[i]) option = &candidate;
          }
          if (option == nullptr) {
            return Error{EINVAL, fmt::format("unknown option '-{}'", letters[i])};
          }
          if (auto done = apply(option->name, {}, false); !done) return done;
        }
      }
    }
    return {};
  }

  Outcome<void> option_list(std::string_view word) {
    for (const std::string& option : split_options(word)) {
      const std::string_view text = option;
      const std::size_t equals = text.find('=');
      const bool has_value = equals != std::string_view::npos;
      auto done = apply(text.substr(0, equals),
                        has_value ? text.substr(equals + 1) : std::string_view(), has_value);
      if (!done) return done;
    }
    return {};
  }

  Outcome<void> apply(std::string_view name, std::string_view value, bool has_value) {
    const ProgramOption* program = find_program_option(name);
    if (program == nullptr) {
      auto done = apply_mount_option(parsed_.config, name, value, has_value);
      if (!done && find_mount_option(name) == nullptr && done.error().code == EINVAL) {
        // Again, with the names that the table of mount options does not have.
        std::array<std::string_view, kProgramOptions.size()> names;
        for (std::size_t i = 0; i < names.size(); ++i) names[i] = kProgramOptions[i].name;
        return unknown_option(name, names);
      }
      if (done && !is_ignored_mount_word(name)) parsed_.options.emplace_back(name, value);
      return done;
    }
    if (program->value.empty() == has_value || (has_value && value.empty())) {
      return Error{EINVAL,
                   has_value && program->value.empty()
                       ? fmt::format("option '{}' takes no value", name)
                       : fmt::format("option '{}' needs a value: {}", name, program->value)};
    }
    if (name == "foreground") parsed_.foreground = true;
    if (name == "debug") parsed_.foreground = parsed_.debug = parsed_.config.trace = true;
    if (name == "log") parsed_.log_file = value;
    if (name == "help") parsed_.help = true;
    if (name == "version") parsed_.version = true;
    return {};
  }

  Arguments rest_;
  std::vector<std::string> words_;
  MountArguments parsed_;
  bool options_ended_ = false;
};

void append_row(std::string& text, std::string_view left, std::string_view right) {
  constexpr std::size_t kColumn = 38;
  if (left.size() + 2 > kColumn) {
    text += fmt::format("{}\n{:{}}{}\n", left, "", kColumn, right);
  } else {
    text += fmt::format("{:{}}{}\n", left, kColumn, right);
  }
}

}  // namespace

std::vector<std::string> split_options(std::string_view word) {
  std::vector<std::string> options(1);
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if (c == ',') {
      options.emplace_back();
    } else if (c != '\\' || i + 1 == word.size()) {
      options.back() += c;
    } else {
      auto digit = [&](std::size_t at, char highest) {
        return at < word.size() && word[at] >= '0' && word[at] <= highest;
      };
      if (digit(i + 1, '3') && digit(i + 2, '7') && digit(i + 3, '7')) {
        options.back() += static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 +
                                            (word[i + 3] - '0'));
        i += 3;
      } else {
        options.back() += word[++i];
      }
    }
  }
  std::erase_if(options, [](const std::string& option) { return option.empty(); });
  return options;
}

Outcome<MountArguments> parse_mount_arguments(Arguments arguments) {
  return Parser(arguments).run();
}

std::string mount_help() {
  std::string text =
      "usage: passthroughfs [mount] SOURCE MOUNTPOINT [options]\n\n"
      "Mirrors the directory SOURCE at MOUNTPOINT.\n\nOptions:\n";
  append_row(text, "  -o NAME[=VALUE],...", "mount options, as below");
  for (const ProgramOption& option : kProgramOptions) {
    std::string left = option.letter != 0 ? fmt::format("  -{}, ", option.letter) : "      ";
    left += fmt::format("--{}", option.name);
    if (!option.value.empty()) left += fmt::format("={}", option.value);
    append_row(text, left, option.help);
  }
  append_row(text, "  -n, -s, -v, -t TYPE", "accepted for mount(8), without effect");
  text += "\nMount options, as --NAME[=VALUE] or -o NAME[=VALUE] (first value: the default):\n";
  for (const MountOption& option : mount_options()) {
    std::string left = fmt::format("      --{}", option.name);
    if (!option.values.empty()) left += fmt::format("={}", option.values);
    append_row(text, left, option.help);
  }
  return text;
}

}  // namespace passthroughfs
